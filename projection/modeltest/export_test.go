package modeltest

// Items returns the names of the tests.
func Items() (list []string) {
	for _, item := range items[struct{}]() {
		list = append(list, item.name)
	}
	return list
}

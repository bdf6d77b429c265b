package projection

// ReparseKV reads a value of a bucket, writes it, and reads it again. It reports whether
// the first can be read.
func ReparseKV(raw []byte) (before, after map[string][]byte, ok bool) {
	s, err := parseKV("p", 1, raw)
	if err != nil {
		return nil, nil, false
	}
	again, err := s.next(s.records).encode("p")
	if err != nil {
		return s.records, nil, true
	}
	s2, err := parseKV("p", 2, again)
	if err != nil {
		return s.records, nil, true
	}
	return s.records, s2.records, true
}

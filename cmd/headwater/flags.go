package main

import (
	"errors"
	"flag"
)

// listFlag returns the values of a flag that may be given several times.
func listFlag(fs *flag.FlagSet, name, usage string) *[]string {
	var list []string
	fs.Func(name, usage, func(value string) error {
		if value == "" {
			return errors.New("it is empty")
		}
		list = append(list, value)
		return nil
	})
	return &list
}

package terminal

import "flag"

// ParseMixed lets the flag package, which stops at the first argument that is
// not a flag, go on behind it.
func ParseMixed(fs *flag.FlagSet, args []string) (found []string, err error) {
	for {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if parsed := len(args) - len(rest); parsed > 0 && args[parsed-1] == "--" {
			return append(found, rest...), nil
		}
		if len(rest) == 0 {
			return found, nil
		}
		found, args = append(found, rest[0]), rest[1:]
	}
}

package main

import (
	"flag"
	"fmt"

	"github.com/headwater-go/headwater/projection"
)

// policy is what is done about an order that cannot be handled. It is a flag of
// the commands that bring read models up to date, and no setting of the shop:
// whether figures without an order are of use, only who asks for them can say.
type policy struct {
	poison  projection.Poison
	unknown projection.Unknown
}

// flags adds the flags that set it.
func (p *policy) flags(fs *flag.FlagSet) {
	choice(fs, "on-poison", &p.poison, projection.Stop, "stop", projection.Park, "park",
		"`stop|park`: what to do about an order with an event that cannot be handled (default stop)")
	choice(fs, "on-unknown", &p.unknown, projection.Refuse, "refuse", projection.Ignore, "ignore",
		"`refuse|ignore`: whether an event of unknown type is one of these (default refuse)")
}

// choice adds a flag with two values.
func choice[V any](fs *flag.FlagSet, name string, to *V, one V, oneText string, other V, otherText, usage string) {
	fs.Func(name, usage, func(text string) error {
		switch text {
		case oneText:
			*to = one
		case otherText:
			*to = other
		default:
			return fmt.Errorf("it is neither %s nor %s", oneText, otherText)
		}
		return nil
	})
}

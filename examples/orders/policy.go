package main

import (
	"flag"

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
	fs.TextVar(&p.poison, "on-poison", projection.Stop, "`stop|park`: what to do about an order with an event that cannot be handled")
	fs.TextVar(&p.unknown, "on-unknown", projection.Refuse, "`refuse|ignore`: whether an event of unknown type is one of these")
}

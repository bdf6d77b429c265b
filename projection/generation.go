package projection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Generation is a read model: the live one, which readers see, one that a rebuild
// is making, or one that is kept.
type Generation struct {
	Number   uint64
	Version  int // of the handlers that made it
	Created  time.Time
	Live     bool
	Building bool
	To       uint64 // the position that it ends after, if it does
	DryRun   bool
	Position uint64 // up to which the log is handled
	Parked   int    // streams
}

// Generations returns the generations of the read model, in the order of their
// numbers; none if the projection never ran.
func (p *Projection[T]) Generations(ctx context.Context) (list []Generation, err error) {
	now, ok, err := p.current(ctx)
	if err != nil || !ok {
		return nil, err
	}
	err = p.model.Records(ctx, p.name, func(r Records) error {
		list = nil
		all, err := listGenerations(r)
		if err != nil {
			return err
		}
		for number, g := range all {
			at, err := loadCheckpoints(r, number, g.Workers)
			if err != nil {
				return err
			}
			parked, err := r.List(parkedPrefix(number))
			if err != nil {
				return err
			}
			list = append(list, Generation{
				Number: number, Version: g.Version, Created: g.Created, Live: number == now.Live,
				Building: g.Building, To: g.To, DryRun: g.DryRun, Position: lowest(at).Position, Parked: len(parked),
			})
		}
		return nil
	})
	slices.SortFunc(list, func(a, b Generation) int { return cmp.Compare(a.Number, b.Number) })
	return list, err
}

func (p *Projection[T]) generations(ctx context.Context) (all map[uint64]generation, err error) {
	err = p.model.Records(ctx, p.name, func(r Records) error {
		all, err = listGenerations(r)
		return err
	})
	return all, err
}

func listGenerations(r Records) (map[uint64]generation, error) {
	raw, err := r.List(generationPrefix)
	if err != nil {
		return nil, err
	}
	all := make(map[uint64]generation, len(raw))
	for key, value := range raw {
		number, err := strconv.ParseUint(strings.TrimPrefix(key, generationPrefix), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("record %s of the read model %w", key, errDamagedRecord)
		}
		var g generation
		if err := parse(key, value, &g); err != nil {
			return nil, err
		}
		all[number] = g
	}
	return all, nil
}

// Show makes a generation the live one, from one moment to the next: one that was
// kept, for example, if the new one is not what it should be. Whoever projects goes
// on from where that one ends, and its handlers are told that up to where the other
// one was events are replayed. The other one is kept. Without such a generation the
// error matches [ErrNoGeneration], and if a rebuild is still making it
// [eventstore.ErrInvalid].
//
// A program of another version than the generation's does not leave it so, see
// [Options]: to go back to an older version start the older program, stop the newer
// ones, and then show the generation.
func (p *Projection[T]) Show(ctx context.Context, number uint64) error {
	return p.again(ctx, func() error { return p.show(ctx, number) })
}

// again does something again where somebody else was faster.
func (p *Projection[T]) again(ctx context.Context, f func() error) error {
	for attempt := 1; ; attempt++ {
		err := f()
		if !errors.Is(err, errMoved) {
			return err
		}
		if pause(ctx, attempt); ctx.Err() != nil {
			return fmt.Errorf("projection %s: %w", p.name, ctx.Err())
		}
	}
}

func (p *Projection[T]) show(ctx context.Context, number uint64) error {
	now, ok, err := p.current(ctx)
	if err != nil {
		return err
	}
	if !ok {
		return p.noGeneration(number)
	}
	if number == now.Live {
		return nil
	}
	defer p.monitor.moved()
	return p.model.Update(ctx, p.name, func(tx Tx[T]) error {
		g, ok, err := load[generation](tx, generationKey(number))
		if err != nil {
			return err
		}
		if !ok {
			return p.noGeneration(number)
		}
		if g.Building {
			return p.invalid("show", fmt.Sprintf("generation %d is not complete", number))
		}
		next := now.master
		next.Live = number
		if err := swap(tx, masterKey, now.raw, encode(next)); err != nil {
			return err
		}
		live, err := retire(tx, now.Live, true)
		if err != nil {
			return err
		}
		reached := lowest(live).Position
		if err := unretire(tx, number, g.Workers); err != nil {
			return err
		}
		g.Kept, g.To, g.Replayed = false, 0, max(g.Replayed, reached)
		if err := save(tx, generationKey(number), g); err != nil {
			return err
		}
		return tx.Show(number)
	})
}

func unretire[T any](tx Tx[T], number uint64, workers int) error {
	all, err := loadCheckpoints(tx, number, workers)
	if err != nil {
		return err
	}
	for i, c := range all {
		c.Retired = false
		c.Changes++
		if err := save(tx, checkpointKey(number, i), c); err != nil {
			return err
		}
	}
	return nil
}

func (p *Projection[T]) noGeneration(number uint64) error {
	return fmt.Errorf("projection %s: generation %d: %w", p.name, number, ErrNoGeneration)
}

// Remove removes a generation that is not the live one. A rebuild that is making it
// ends with an error. Without such a generation the error matches
// [ErrNoGeneration].
func (p *Projection[T]) Remove(ctx context.Context, number uint64) error {
	return p.again(ctx, func() error { return p.removeOnce(ctx, number) })
}

func (p *Projection[T]) removeOnce(ctx context.Context, number uint64) error {
	now, ok, err := p.current(ctx)
	if err != nil {
		return err
	}
	if ok && number == now.Live {
		return p.invalid("remove", fmt.Sprintf("generation %d is the live one", number))
	}
	return p.remove(ctx, now, number)
}

func (p *Projection[T]) remove(ctx context.Context, now current, number uint64) error {
	return p.model.Update(ctx, p.name, func(tx Tx[T]) error {
		// Of two transactions that change which one is live one fails.
		if err := swap(tx, masterKey, now.raw, now.raw); err != nil {
			return err
		}
		g, ok, err := load[generation](tx, generationKey(number))
		if err != nil {
			return err
		}
		if !ok {
			return p.noGeneration(number)
		}
		return drop(tx, number, g)
	})
}

func drop[T any](tx Tx[T], number uint64, g generation) error {
	parked, err := tx.List(parkedPrefix(number))
	if err != nil {
		return err
	}
	keys := []string{generationKey(number)}
	for key := range parked {
		keys = append(keys, key)
	}
	for i := range g.Workers {
		keys = append(keys, checkpointKey(number, i))
	}
	for _, key := range keys {
		if err := tx.Put(key, nil); err != nil {
			return err
		}
	}
	return tx.Drop(number)
}

// tidy removes the generations that were replaced and are not kept. If somebody else
// is faster that is all right.
func (p *Projection[T]) tidy(ctx context.Context) error {
	var now current
	var all map[uint64]generation
	err := p.model.Records(ctx, p.name, func(r Records) (err error) {
		if now.raw, err = r.Get(masterKey); err != nil || now.raw == nil {
			return err
		}
		if err := parse(masterKey, now.raw, &now.master); err != nil {
			return err
		}
		all, err = listGenerations(r)
		return err
	})
	if err != nil {
		return err
	}
	for number, g := range all {
		if number == now.Live || g.Building || g.Kept {
			continue
		}
		err := p.remove(ctx, now, number)
		if err != nil && !errors.Is(err, ErrNoGeneration) && !errors.Is(err, errMoved) {
			return err
		}
	}
	return nil
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// maxLine is more than a commit that a server takes, 64 MiB at most, would
// have on one line in all but absurd cases.
const maxLine = 128 << 20

// A line is one of a file, by its number from 1.
type line struct {
	number int
	text   []byte
}

// readLines returns the lines of a file that are not empty. An error comes with
// the number of its line.
//
// A read of a terminal or a pipe cannot be broken off. It is left to a goroutine
// that ends with the process, or with the next line.
func readLines(ctx context.Context, r io.Reader) iter.Seq2[line, error] {
	type result struct {
		line
		err error
	}
	return func(yield func(line, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		found := make(chan result)
		go func() {
			defer close(found)
			scanLines(r, func(l line, err error) bool {
				select {
				case found <- result{l, err}:
					return true
				case <-ctx.Done():
					return false
				}
			})
		}()
		for {
			select {
			case <-ctx.Done():
				yield(line{}, ctx.Err())
				return
			case next, ok := <-found:
				if !ok && ctx.Err() != nil {
					next.err = ctx.Err() // that is why there is no more
				} else if !ok {
					return
				}
				if !yield(next.line, next.err) || !ok {
					return
				}
			}
		}
	}
}

func scanLines(r io.Reader, yield func(line, error) bool) {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, maxLine)
	number := 0
	for scanner.Scan() {
		number++
		text := bytes.TrimSpace(scanner.Bytes())
		if len(text) > 0 && !yield(line{number, bytes.Clone(text)}, nil) {
			return
		}
	}
	switch err := scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		yield(line{number: number + 1}, fmt.Errorf("it is longer than %d MiB", maxLine>>20))
	case err != nil:
		yield(line{number: number + 1}, err)
	}
}

package replay_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/eventstore"
	"github.com/headwater-go/headwater/projection"
	"github.com/headwater-go/headwater/projection/replay"
	"go.etcd.io/bbolt"
)

// site is what the program below opens.
type site struct {
	server *embedded.Server
	file   *projection.File
	visits *projection.Projection[*bbolt.Bucket]
}

type visited struct{ Page string }

func (visited) EventType() string { return "page.visited" }

func openSite(ctx context.Context, dir string) (*site, error) {
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	nc, err := server.Connect()
	if err != nil {
		return nil, err
	}
	store, err := eventstore.Open(ctx, nc, "site", nil)
	if err != nil {
		return nil, err
	}
	file, err := projection.OpenFile(filepath.Join(dir, "read-models"))
	if err != nil {
		return nil, err
	}
	visits, err := projection.New("visits", store, file, projection.From("page", eventstore.JSON[eventstore.Typed](visited{}),
		projection.On(func(_ context.Context, pages *bbolt.Bucket, e visited, _ projection.Event) error {
			return pages.Put([]byte(e.Page), []byte("visited"))
		})), nil)
	return &site{server, file, visits}, err
}

func (s *site) Close() error {
	if err := s.file.Close(); err != nil {
		return err
	}
	return s.server.Close()
}

// A program whose only commands are those of this package.
func Example() {
	dir, err := os.MkdirTemp("", "site")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	commands := &replay.Commands{
		Program: "site",
		Open: func(ctx context.Context) ([]replay.Projection, func() error, error) {
			s, err := openSite(ctx, dir)
			if err != nil {
				return nil, nil, err
			}
			return []replay.Projection{s.visits}, s.Close, nil
		},
	}
	for _, args := range [][]string{ // as os.Args[1:] would be
		{"projections"},
		{"discard", "visits", "page/home"},
	} {
		if err := commands.Run(context.Background(), args); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// projection               generation  state      position        lag  parked
	// visits                            0  new               0          0       0
	// projection visits: page/home: not parked
}

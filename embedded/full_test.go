//go:build linux

package embedded_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/headwater-go/headwater/embedded"
	"github.com/headwater-go/headwater/testutil"
)

// fill writes a file that takes all the space that is left.
func fill(t *testing.T, dir string) (file string) {
	t.Helper()
	file = filepath.Join(dir, "ballast")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return file
}

// fillFiles makes empty files until there can be no more.
func fillFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	for {
		file := filepath.Join(dir, fmt.Sprintf("file-%d", len(files)))
		f, err := os.Create(file)
		if errors.Is(err, syscall.ENOSPC) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		files = append(files, file)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// lines collects what a server logs.
type lines struct {
	mu  sync.Mutex
	out strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(p)
}

func (l *lines) has(text string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.Contains(l.out.String(), text) {
		return fmt.Errorf("the log has no %q:\n%s", text, l.out.String())
	}
	return nil
}

// tooLate publishes what there is no room for.
func tooLate(t *testing.T, js jetstream.JetStream, size int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if ack, err := js.Publish(ctx, "log.numbers", make([]byte, size)); err == nil {
		t.Fatalf("a message of %d bytes is on the full disk: %+v", size, ack)
	}
}

// The message that there is no room for was to be the first of a file: the
// first of the stream, or one that needs another file. Its sequence is the next
// message's, so that none is missing.
func TestFullDiskLeavesNoGap(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before int // messages of 1,000,000 bytes, of which 8 fit one file
		opts   embedded.Options
	}{
		{"first message", 0, embedded.Options{}},
		{"first message, relaxed", 0, embedded.Options{Relaxed: true}},
		{"next file", 8, embedded.Options{}},
		{"next file, relaxed", 8, embedded.Options{Relaxed: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			disk := testutil.Disk(t, "size=16m")
			log := new(lines)
			tt.opts.Logger = slog.New(slog.NewTextHandler(log, nil))
			s := open(t, filepath.Join(disk, "data"), &tt.opts)
			js := connect(t, s)
			createLog(t, js, 1)
			for range tt.before {
				if _, err := js.Publish(t.Context(), "log.big", make([]byte, 1_000_000)); err != nil {
					t.Fatal(err)
				}
			}
			ballast := fill(t, disk)
			tooLate(t, js, 500_000)
			eventually(t, func() error { return log.has("The disk is full") })
			remove(t, ballast)
			eventually(t, func() error { return log.has("all streams were opened again") })
			publish(t, js, uint64(tt.before)+1, uint64(tt.before)+10)
			info, err := js.Stream(t.Context(), "LOG")
			if err != nil {
				t.Fatal(err)
			}
			want := uint64(tt.before) + 10
			if st := info.CachedInfo().State; st.FirstSeq != 1 || st.LastSeq != want || st.Msgs != want {
				t.Errorf("the stream has %+v, want 1 to %d", st, want)
			}
		})
	}
}

// While the disk stays full the server waits, and it can be closed.
func TestCloseWhileDiskIsFull(t *testing.T) {
	t.Parallel()
	disk := testutil.Disk(t, "size=4m")
	dir := filepath.Join(disk, "data")
	log := new(lines)
	s := open(t, dir, &embedded.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	js := connect(t, s)
	createLog(t, js, 1)
	publish(t, js, 1, 5)
	ballast := fill(t, disk)
	tooLate(t, js, 100_000)
	eventually(t, func() error { return log.has("The disk is full") })
	requireMessages(t, js, 5)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	remove(t, ballast)
	js = connect(t, open(t, dir, nil))
	requireMessages(t, js, 5)
	publish(t, js, 6, 8)
}

// Without room for the second names of its files the log is not opened.
func TestStartOnFullDisk(t *testing.T) {
	t.Parallel()
	disk := testutil.Disk(t, "size=4m,nr_inodes=100")
	dir := filepath.Join(disk, "data")
	s := open(t, dir, nil)
	js := connect(t, s)
	createLog(t, js, 1)
	publish(t, js, 1, 5)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files := fillFiles(t, disk)
	for range 4 {
		_, err := embedded.Start(t.Context(), dir, nil)
		if se := new(embedded.StartError); !errors.As(err, &se) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
		remove(t, files[0])
		files = files[1:]
	}
	removeAll(t, files)()
	js = connect(t, open(t, dir, nil))
	requireMessages(t, js, 5)
	publish(t, js, 6, 8)
}

// Whoever is connected stays so, with subscriptions and consumers.
func TestFullDiskHarmsNoClient(t *testing.T) {
	t.Parallel()
	disk := testutil.Disk(t, "size=4m")
	s := open(t, filepath.Join(disk, "data"), &embedded.Options{Listen: "127.0.0.1:0"})
	inside := connect(t, s)
	nc, err := nats.Connect(s.URL(), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	outside, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	createLog(t, inside, 1)
	for i := range 40 { // which are opened before it
		if _, err := inside.CreateStream(t.Context(), jetstream.StreamConfig{Name: fmt.Sprint("BEFORE-", i)}); err != nil {
			t.Fatal(err)
		}
	}
	consumer, err := outside.CreateConsumer(t.Context(), "LOG", jetstream.ConsumerConfig{Durable: "outside"})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, inside, 1, 5)
	requireNext(t, consumer, 1)
	defer asking(t, outside)()
	ballast := fill(t, disk)
	tooLate(t, inside, 100_000)
	requireNext(t, consumer, 2)
	remove(t, ballast)
	publish(t, inside, 6, 8)
	for seq := uint64(3); seq <= 8; seq++ {
		requireNext(t, consumer, seq)
	}
	if nc.IsClosed() || !inside.Conn().IsConnected() {
		t.Errorf("the connections are %s and %s", nc.Status(), inside.Conn().Status())
	}
}

// requireNext fails unless the consumer's next message has this sequence.
func requireNext(t *testing.T, consumer jetstream.Consumer, seq uint64) {
	t.Helper()
	eventually(t, func() error {
		msg, err := consumer.Next(jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		if at, err := msg.Metadata(); err != nil || at.Sequence.Stream != seq {
			t.Fatalf("got %+v, %v, want message %d", at, err, seq)
		}
		return msg.DoubleAck(t.Context())
	})
}

// When there is space again there may be no room for as many files as it takes,
// or a stream cannot be opened. The server, which deletes such a stream, tries
// again, and no message is lost.
func TestFullDiskAndMore(t *testing.T) {
	t.Parallel()
	for name, hinder := range map[string]func(t *testing.T, disk string) (relieve func()){
		"no file": func(t *testing.T, disk string) func() {
			return removeAll(t, fillFiles(t, disk))
		},
		"few files": func(t *testing.T, disk string) func() {
			files := fillFiles(t, disk)
			removeAll(t, files[:4])()
			return removeAll(t, files[4:])
		},
		"no stream": func(t *testing.T, disk string) func() {
			return hideConsumers(t, filepath.Join(disk, "data"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := testutil.Disk(t, "size=4m,nr_inodes=100")
			log := new(lines)
			s := open(t, filepath.Join(disk, "data"), &embedded.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
			js := connect(t, s)
			createLog(t, js, 1)
			publish(t, js, 1, 5)
			ballast := fill(t, disk)
			relieve := hinder(t, disk)
			tooLate(t, js, 100_000)
			eventually(t, func() error { return log.has("The disk is full") })
			remove(t, ballast)
			eventually(t, func() error { return log.has("streams could not be opened") })
			relieve()
			eventually(t, func() error { return log.has("all streams were opened again") })
			publish(t, js, 6, 8)
			requireMessages(t, js, 8)
		})
	}
}

func removeAll(t *testing.T, files []string) func() {
	return func() {
		for _, file := range files {
			remove(t, file)
		}
	}
}

// asking asks for the stream all the time until stop is called. At no time it is
// not there.
func asking(t *testing.T, js jetstream.JetStream) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for ctx.Err() == nil {
				if _, err := js.Stream(ctx, "LOG"); errors.Is(err, jetstream.ErrStreamNotFound) {
					t.Error(err)
				}
			}
		})
	}
	return func() { cancel(); running.Wait() }
}

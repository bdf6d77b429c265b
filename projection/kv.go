package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/headwater-go/headwater/eventstore"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// KV keeps the records of projections in a JetStream key-value bucket, for [Effects]
// that several processes share without a database. There is no read model in it.
//
// All records of a projection are one value, under its name, which is written as a
// whole, after what it was before and in one message: so it has to fit one, which
// limits how many streams can be parked. A bucket on several nodes goes on while most
// of them do. One that is deleted and made again is another one only for processes that
// are started after that.
type KV struct {
	nc     *nats.Conn
	bucket string
	kv     jetstream.KeyValue
	claims

	mu    sync.Mutex
	known map[string]kvState       // by projection: the last that this process has seen
	turns map[string]chan struct{} // by projection: holds one while it is written
}

// KVOptions are what a bucket is created with. The zero value of each field is its
// default.
type KVOptions struct {
	// Replicas is on how many nodes of a cluster the bucket is: 1 (the default), 3
	// or 5. An existing bucket keeps its own.
	Replicas int
}

// OpenKV opens the bucket, and creates it if there is none. Its name is 1 or more
// letters, digits, '-' and '_'. There is nothing to close but the connection.
//
// A bucket whose settings can lose records is refused by an error that matches
// [eventstore.ErrInvalid], and names them. Without an answer until the context ends, or
// for half a minute, the error matches [eventstore.ErrUnavailable].
func OpenKV(ctx context.Context, nc *nats.Conn, bucket string, opts *KVOptions) (*KV, error) {
	if nc == nil {
		return nil, &eventstore.InvalidError{What: "connection", Reason: "is nil"}
	}
	if opts == nil {
		opts = &KVOptions{}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, err)
	}
	k := &KV{nc: nc, bucket: bucket, known: make(map[string]kvState), turns: make(map[string]chan struct{})}
	var cfg jetstream.StreamConfig
	err = k.try(ctx, func(ctx context.Context) (err error) {
		k.kv, cfg, err = openBucket(ctx, js, bucket, opts)
		return err
	})
	if errors.Is(err, jetstream.ErrInvalidBucketName) {
		return nil, &eventstore.InvalidError{What: "bucket name", Value: bucket, Reason: "is not letters, digits, '-' and '_'"}
	}
	if err != nil {
		return nil, err
	}
	if problems := unsafeBucket(cfg); len(problems) > 0 {
		return nil, &eventstore.InvalidError{What: "bucket", Value: bucket, Reason: "its settings can lose records: " + strings.Join(problems, "; ") + ". Change them, or use another bucket"}
	}
	return k, nil
}

func openBucket(ctx context.Context, js jetstream.JetStream, bucket string, opts *KVOptions) (kv jetstream.KeyValue, cfg jetstream.StreamConfig, err error) {
	ctx, cancel := context.WithTimeout(ctx, kvCreate)
	defer cancel()
	kv, err = js.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: bucket, Description: "Headwater projections", History: 1, Storage: jetstream.FileStorage, Replicas: opts.Replicas,
		})
	}
	if err != nil {
		return nil, cfg, refusal(err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, cfg, err
	}
	return kv, status.(*jetstream.KeyValueBucketStatus).StreamInfo().Config, nil
}

// unsafeBucket lists what in a bucket's settings can lose records, each as "setting:
// why".
func unsafeBucket(c jetstream.StreamConfig) (problems []string) {
	check := func(bad bool, problem string) {
		if bad {
			problems = append(problems, problem)
		}
	}
	check(c.Storage != jetstream.FileStorage, "storage: it is kept in memory")
	check(c.Retention != jetstream.LimitsPolicy, "retention: values that were read are removed")
	check(c.MaxAge > 0, "max_age (TTL): values are removed after a time")
	check(c.AllowMsgTTL, "allow_msg_ttl (LimitMarkerTTL): values can expire")
	check(c.MaxBytes > 0, "max_bytes: it may be full")
	check(c.MaxMsgs > 0, "max_msgs: it may be full")
	check(c.Mirror != nil || len(c.Sources) > 0, "sources: it copies another one")
	check(c.SubjectTransform != nil, "subject_transform: values are stored under other keys")
	check(c.Sealed, "sealed: nothing can be written")
	check(c.NoAck, "no_ack: writes are not acknowledged")
	check(c.PersistMode == jetstream.AsyncPersistMode, "persist_mode: writes are acknowledged before they are done")
	return problems
}

// Traits says that several processes share it, that one transaction of a projection is
// made at a time, and that there is no read model.
func (k *KV) Traits() Traits { return Traits{Shared: true, Outside: true} }

// Records is that of [Model]. It asks the node that leads.
func (k *KV) Records(ctx context.Context, projection string, f func(Records) error) error {
	now, err := k.read(ctx, projection)
	if err != nil {
		return err
	}
	return f(memoryRecords{now.records, nil})
}

// Update is that of [Model].
func (k *KV) Update(ctx context.Context, projection string, f func(Tx[struct{}]) error) error {
	release, err := k.turn(ctx, projection)
	if err != nil {
		return err
	}
	defer release()
	before, err := k.read(ctx, projection)
	if err != nil {
		return err
	}
	tx := &kvTx{memoryRecords: memoryRecords{before.records, map[string][]byte{}}}
	if err := f(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// One that only reads writes too: who moved what it has read is noticed by that.
	return k.write(ctx, projection, before, tx.merged())
}

// swap sets records if others are as they were read. It reads them again only where it
// does not know, or somebody else has written.
func (k *KV) swap(ctx context.Context, projection string, read, written map[string][]byte) error {
	release, err := k.turn(ctx, projection)
	if err != nil {
		return err
	}
	defer release()
	before := k.last(projection)
	if before.revision == 0 || !before.holds(read) {
		if before, err = k.read(ctx, projection); err != nil {
			return err
		}
	}
	for before.holds(read) {
		err := k.write(ctx, projection, before, before.with(written))
		if !errors.Is(err, errMoved) {
			return err
		}
		before = k.last(projection)
	}
	return errMoved
}

// turn waits until nobody else in this process writes to a projection's records.
func (k *KV) turn(ctx context.Context, projection string) (release func(), err error) {
	k.mu.Lock()
	turn, ok := k.turns[projection]
	if !ok {
		turn = make(chan struct{}, 1)
		k.turns[projection] = turn
	}
	k.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// kvTx is a transaction. There is no read model.
type kvTx struct{ memoryRecords }

func (t *kvTx) Data(uint64) (none struct{}, err error) { return none, nil }
func (t *kvTx) Create(uint64) error                    { return nil }
func (t *kvTx) Show(uint64) error                      { return nil }
func (t *kvTx) Drop(uint64) error                      { return nil }

func (t *kvTx) Put(key string, value []byte) error {
	t.above[key] = slices.Clone(value)
	return nil
}

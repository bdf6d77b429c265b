package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/headwater-go/headwater/examples/orders/order"
)

// request is one that has the same meaning however often it is sent.
type request struct {
	method, path string
	body         any
	key          string // of a command
	version      string // the ETag that the order must have, "" for any
}

// answer is what a front said.
type answer struct {
	status int
	order  order.Summary
	tag    string // the order's ETag
	code   string // of a problem
}

// again reports whether the front could not do it, or does not know.
func (a answer) again() bool {
	return a.status >= http.StatusInternalServerError || a.status == http.StatusTooManyRequests || a.code == "conflict"
}

// send sends a request until it has an answer, to one front after the other.
func (r *run) send(ctx context.Context, q request) (answer, error) {
	at := rand.IntN(len(r.URLs))
	for attempt := 0; ; attempt++ {
		a, err := r.once(ctx, r.URLs[(at+attempt)%len(r.URLs)], q)
		if err == nil && !a.again() {
			return a, nil
		}
		if err == nil {
			err = fmt.Errorf("status %d %s", a.status, a.code)
		}
		if wait(ctx, attempt) != nil {
			return answer{}, fmt.Errorf("%s %s: %w: %w", q.method, q.path, context.Cause(ctx), err)
		}
		r.mu.Lock()
		r.retries++
		r.mu.Unlock()
	}
}

// once sends a request once.
func (r *run) once(ctx context.Context, front string, q request) (a answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	var body []byte
	if q.body != nil {
		if body, err = json.Marshal(q.body); err != nil {
			return a, err
		}
	}
	hr, err := http.NewRequestWithContext(ctx, q.method, front+q.path, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	if q.key != "" {
		hr.Header.Set("Content-Type", "application/json")
		hr.Header.Set("Idempotency-Key", `"`+q.key+`"`)
	}
	if q.version != "" {
		hr.Header.Set("If-Match", q.version)
	}
	got, err := r.http.Do(hr)
	if err != nil {
		return a, err
	}
	defer got.Body.Close()
	data, err := io.ReadAll(io.LimitReader(got.Body, 1<<20))
	if err != nil {
		return a, err
	}
	a = answer{status: got.StatusCode, tag: got.Header.Get("ETag")}
	if a.status >= 300 {
		var problem struct{ Code string }
		_ = json.Unmarshal(data, &problem) // what is between may answer otherwise
		a.code = problem.Code
		return a, nil
	}
	return a, json.Unmarshal(data, &a.order)
}

// wait waits before the next attempt, longer each time.
func wait(ctx context.Context, attempt int) error {
	const first, longest = 20 * time.Millisecond, 2 * time.Second
	select {
	case <-time.After(rand.N(min(first<<min(attempt, 16), longest))):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// unexpected says that a front answered what makes no sense.
func (a answer) unexpected(q request) error {
	return fmt.Errorf("%s %s was answered with status %d %s", q.method, q.path, a.status, a.code)
}

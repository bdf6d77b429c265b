package service_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headwater-go/headwater/service"
	"github.com/headwater-go/headwater/testutil"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

type (
	ping  = micro.Ping
	info  = micro.Info
	stats = micro.Stats
)

// tell returns what so many instances answer, as a tool reads it.
func tell[T any](t *testing.T, h house, subject string, instances int) (all []T) {
	t.Helper()
	for _, data := range tellJSON(t, h, subject, instances) {
		var v T
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

func tellJSON(t *testing.T, h house, subject string, instances int) (all [][]byte) {
	t.Helper()
	nc := testutil.Connect(t, h.on)
	sub, err := nc.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.PublishRequest(subject, sub.Subject, nil); err != nil {
		t.Fatal(err)
	}
	for range instances {
		m, err := sub.NextMsg(time.Minute)
		if err != nil {
			t.Fatalf("%s: %v", subject, err)
		}
		all = append(all, m.Data)
	}
	return all
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range 2 {
		h.respond(t, &service.RespondOptions{Version: "1.2.3-rc.1", Description: "tills", Metadata: map[string]string{"team": "red"}},
			service.Query(totals(nil), &service.QueryOptions{Metadata: map[string]string{"schema": "Totals/1"}}))
	}
	c := h.client(t, nil)
	for range 20 {
		if _, err := c.Execute(t.Context(), "front", Pay{Amount: 1}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Execute(t.Context(), "front", Take{Amount: 1000}, nil); err == nil {
			t.Fatal("took what is not there")
		}
	}
	ids := make(map[string]bool)
	for _, p := range tell[ping](t, h, "$SRV.PING", 2) {
		ids[p.ID] = true
		if p.Name != "cash" || p.Version != "1.2.3-rc.1" || p.Metadata["team"] != "red" || p.Type != micro.PingResponseType {
			t.Errorf("got %+v", p)
		}
	}
	requests, errors := 0, 0
	for id := range ids {
		i := tell[info](t, h, "$SRV.INFO.cash."+id, 1)[0]
		if i.ID != id || i.Description != "tills" || len(i.Endpoints) != 4 {
			t.Errorf("got %+v", i)
		}
		last := i.Endpoints[3]
		if last.Name != "query-totals" || last.Subject != "cash.query.ask.totals" || last.QueueGroup != "q" || last.Metadata["schema"] != "Totals/1" {
			t.Errorf("got %+v", last)
		}
		s := tell[stats](t, h, "$SRV.STATS.cash."+id, 1)[0]
		for _, e := range s.Endpoints {
			requests += e.NumRequests
			errors += e.NumErrors
			if e.Name == "command-till-take" && e.NumErrors > 0 && e.LastError != "422:"+errShort.Error() {
				t.Errorf("got %+v", e)
			}
			if e.NumRequests > 0 && (e.AverageProcessingTime <= 0 || e.ProcessingTime < e.AverageProcessingTime) {
				t.Errorf("got %+v", e)
			}
		}
	}
	if len(ids) != 2 || requests != 40 || errors != 20 {
		t.Errorf("%d instances had %d requests and %d errors", len(ids), requests, errors)
	}
}

// The answers to tools are those of package micro's own service, field by field.
func TestDiscoveryIsThatOfMicro(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.respond(t, &service.RespondOptions{Metadata: map[string]string{"team": "red"}})
	theirs, err := micro.AddService(testutil.Connect(t, h.on), micro.Config{
		Name: "theirs", Version: "1.0.0", Metadata: map[string]string{"team": "red"},
		Endpoint: &micro.EndpointConfig{Subject: "theirs", Handler: micro.HandlerFunc(func(micro.Request) {})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := theirs.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, verb := range []string{"PING", "INFO", "STATS"} {
		got := shape(t, tellJSON(t, h, "$SRV."+verb+".cash", 1)[0])
		want := shape(t, tellJSON(t, h, "$SRV."+verb+".theirs", 1)[0])
		if got != want {
			t.Errorf("%s has %s, want %s", verb, got, want)
		}
	}
}

// shape returns the names and types of JSON.
func shape(t *testing.T, data []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return shapeOf(v)
}

func shapeOf(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var fields []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			fields = append(fields, key+":"+shapeOf(v[key]))
		}
		return "{" + strings.Join(fields, " ") + "}"
	case []any:
		return "[" + shapeOf(v[0]) + "]"
	case string:
		return "text"
	case float64:
		return "number"
	case nil:
		return "null"
	}
	return "bool"
}

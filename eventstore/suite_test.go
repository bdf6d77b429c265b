package eventstore_test

import (
	"sync"
	"testing"

	"github.com/headwater-go/headwater/eventstore/storetest"
	"github.com/headwater-go/headwater/testutil"
)

var suiteItems = []item{{"what any store does", anyStore}}

// anyStore runs the items that need no more than a store.
func anyStore(t *testing.T, s site) {
	var known sync.Map
	storetest.Run(t, func(t *testing.T, log string) storetest.Store {
		store := s.open(t, testutil.Connect(t, s), "any-store-"+log, nil)
		if _, again := known.LoadOrStore(log, true); !again {
			verifyAtEnd(t, store)
		}
		return store
	})
}

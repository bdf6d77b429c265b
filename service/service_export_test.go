package service

import "github.com/headwater-go/headwater/eventstore"

// FromMap is FromEnv for an environment of the test's own.
func FromMap(variables map[string]string) (Config, error) { return fromEnv(variables) }

// Damage is what the log's OnDamage is called with.
func Damage(s *Service, e *eventstore.CorruptionError) { s.onDamage(e) }

// Seen lets the log have ended at a position.
func Seen(s *Service, position uint64) { s.known(position) }

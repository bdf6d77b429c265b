package service

import "sync"

// crew has at most so many jobs in hand. Others wait for their turn. Who did a job
// stays for the next one: a new goroutine would first have to grow its stack.
type crew struct {
	most, longest int
	jobs          chan func() // for those who are idle; room for as many
	all           sync.WaitGroup

	mu      sync.Mutex
	workers int
	idle    int // workers to whom no job was given
	waiting []func()
	ended   bool
}

func (c *crew) begin(most, longest int) {
	c.most, c.longest, c.jobs = most, longest, make(chan func(), most)
}

// do has a job done, in time, and returns at once. It reports whether there is room
// for it.
func (c *crew) do(job func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
		return false
	case c.idle > 0:
		c.idle--
		c.jobs <- job
	case c.workers < c.most:
		c.workers++
		go c.work(job)
	case len(c.waiting) < c.longest:
		c.waiting = append(c.waiting, job)
	default:
		return false
	}
	c.all.Add(1) // before the worker can be done, who needs the lock for that
	return true
}

func (c *crew) work(job func()) {
	for ok := true; ok; {
		job()
		next := c.next()
		c.all.Done()
		if job = next; job == nil {
			job, ok = <-c.jobs
		}
	}
}

// next returns the job that has waited for longest. If none waits the worker is idle.
func (c *crew) next() func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		c.idle++
		return nil
	}
	job := c.waiting[0]
	c.waiting[0] = nil
	c.waiting = c.waiting[1:]
	return job
}

// end lets the workers go when they have done what they were given.
func (c *crew) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.ended = true
		close(c.jobs)
	}
}

func (c *crew) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.workers - c.idle + len(c.waiting)
}

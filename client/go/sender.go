package tally

// The goroutine that connects, sends and settles. A second one, for each connection, reads.

import (
	"bufio"
	"context"
	"errors"
	"math/rand"
	"net"
	"time"
)

// The next batch that may be sent, else nil. While none may be, the batch goes on filling.
func (c *Client) next() *batch {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.flying >= c.options.InFlightBatches {
		return nil
	}
	if c.flying == len(c.unacked) && time.Since(c.opened) >= c.options.BatchAge {
		c.seal()
	}
	if c.flying == len(c.unacked) {
		return nil
	}
	next := c.unacked[c.flying]
	if c.flying++; c.flying == 1 {
		c.heard = time.Now()
	}
	if next.sends++; next.sends > 1 {
		c.stats.BatchesResent++
	}
	return next
}

// How long nothing is due.
func (c *Client) due() (time.Duration, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	wait := time.Hour
	if c.flying > 0 {
		if wait = time.Until(c.heard.Add(c.options.AckTimeout)); wait <= 0 {
			return 0, errors.New("no ack in time")
		}
	}
	if c.count > 0 && c.flying < c.options.InFlightBatches {
		if age := time.Until(c.opened.Add(c.options.BatchAge)); age < wait {
			wait = age
		}
	}
	return wait, nil
}

func (c *Client) run() {
	defer close(c.done)
	for {
		err := c.serve()
		c.mutex.Lock()
		c.flying, c.stats.IsConnected, c.stats.LastError = 0, false, err.Error()
		pause := c.pause - time.Duration(rand.Int63n(int64(c.pause)/2+1))
		if c.pause *= 2; c.pause > c.options.RetryMax {
			c.pause = c.options.RetryMax
		}
		c.mutex.Unlock()
		select {
		case <-time.After(pause):
		case <-c.context.Done():
			return
		}
	}
}

func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	network, address := c.options.address()
	dialer := net.Dialer{Timeout: c.options.ConnectTimeout}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	go func() { // ends a read and a write that wait
		<-ctx.Done()
		conn.Close()
	}()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.stats.Connects++
	c.stats.IsConnected, c.stats.LastError = true, ""
	return conn, nil
}

type answer struct {
	value any
	err   error
}

func read(ctx context.Context, conn net.Conn, answers chan<- answer) {
	in := reader{bufio.NewReader(conn)}
	for err := error(nil); err == nil; {
		var value any
		value, err = in.any()
		select {
		case answers <- answer{value, err}:
		case <-ctx.Done():
			return
		}
	}
}

// One connection, to its end.
func (c *Client) serve() error {
	ctx, cancel := context.WithCancel(c.context)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	answers := make(chan answer, c.options.InFlightBatches)
	go read(ctx, conn, answers)
	for err == nil {
		for next := c.next(); next != nil && err == nil; next = c.next() {
			conn.SetWriteDeadline(time.Now().Add(c.options.AckTimeout))
			_, err = conn.Write(next.frame)
		}
		if err == nil {
			err = c.wait(ctx, answers)
		}
	}
	return err
}

// Until something is to be done; an answer is settled.
func (c *Client) wait(ctx context.Context, answers <-chan answer) error {
	due, err := c.due()
	if err != nil {
		return err
	}
	timer := time.NewTimer(due)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.wake:
	case <-ctx.Done():
		return ErrClosed
	case it := <-answers:
		if it.err != nil {
			return it.err
		}
		return c.settle(it.value)
	}
	return nil
}

func (c *Client) settle(value any) error {
	fields, _ := value.(map[string]any)
	c.mutex.Lock()
	at := 0
	for at < c.flying && c.unacked[at].chunk != fields["ack"] {
		at++
	}
	if at == c.flying {
		c.mutex.Unlock()
		return errors.New("the server answered with something that is no ack")
	}
	acked := c.unacked[at]
	c.mutex.Unlock()
	rejected, conflicts := c.refuse(acked, fields)
	duplicates, _ := fields["duplicates"].(uint64)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.unacked = append(c.unacked[:at], c.unacked[at+1:]...)
	c.flying--
	c.heard, c.pause = time.Now(), c.options.RetryMin
	c.stats.BufferedBytes -= acked.size + frameBytes
	c.stats.EventsBuffered -= acked.count
	c.stats.EventsAcked += uint64(acked.count)
	c.stats.EventsDuplicate += duplicates
	c.stats.EventsRejected += rejected
	c.stats.EventsConflict += conflicts
	c.announce()
	return nil
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

// No condition in a healthy run comes near this.
const deadline = 15 * time.Second

// Stage is what scenarios are played on: clients and rooms that record all they are told, conditions with deadlines, and
// the driver that owns the node.
type Stage struct {
	urls     []string
	protobuf bool

	mu       sync.Mutex
	happened *sync.Cond
	log      []string
	stdin    *bufio.Reader
}

func newStage(urls string, protobuf bool) *Stage {
	s := &Stage{urls: strings.Split(urls, ","), protobuf: protobuf, stdin: bufio.NewReader(os.Stdin)}
	s.happened = sync.NewCond(&s.mu)
	return s
}

// note writes down what happened, by `record`, and has every condition looked at that is waited for.
func (s *Stage) note(record func(), format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record()
	line := fmt.Sprintf(format, args...)
	s.log = append(s.log, line[:min(len(line), 300)])
	s.happened.Broadcast()
}

// until waits until `holds`, which is asked again whenever something happened.
func (s *Stage) until(what string, holds func() bool) {
	s.within(deadline, what, holds)
}

func (s *Stage) within(patience time.Duration, what string, holds func() bool) {
	end := time.Now().Add(patience)
	timer := time.AfterFunc(patience, s.happened.Broadcast)
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !holds() {
		if !time.Now().Before(end) {
			panic(fmt.Sprintf("not within %v: %s", patience, what))
		}
		s.happened.Wait()
	}
}

// driver has something done to the node: KILL, RESTART, TERM, STOP or CONT.
func (s *Stage) driver(command string) {
	s.note(func() {}, "driver %s", command)
	fmt.Println(command)
	answer, err := s.stdin.ReadString('\n')
	check(err == nil && strings.TrimSpace(answer) == "DONE", "the driver could not %s", command)
}

// at is where a node is; with fewer nodes they count from the first one again.
func (s *Stage) at(number int) string {
	return s.urls[number%len(s.urls)]
}

// report has the last that happened, for a failure.
func (s *Stage) report() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log[max(0, len(s.log)-60):], "\n")
}

// Client is an SDK client with everything it was told.
type Client struct {
	*centrifuge.Client
	stage        *Stage
	name         string
	connected    []centrifuge.ConnectedEvent
	connecting   []centrifuge.ConnectingEvent
	disconnected []centrifuge.DisconnectedEvent
	// Of rooms that the server has put the client into.
	subscribed   []centrifuge.ServerSubscribedEvent
	unsubscribed []centrifuge.ServerUnsubscribedEvent
	publications []centrifuge.ServerPublicationEvent
}

// client makes a client that is not connecting yet.
func (s *Stage) client(name, url string, config centrifuge.Config) *Client {
	if config.Name == "" {
		config.Name = name
	}
	make := centrifuge.NewJsonClient
	if s.protobuf {
		make = centrifuge.NewProtobufClient
	}
	c := &Client{Client: make(url, config), stage: s, name: name}
	c.OnConnected(func(e centrifuge.ConnectedEvent) {
		s.note(func() { c.connected = append(c.connected, e) }, "%s connected %+v", name, e)
	})
	c.OnConnecting(func(e centrifuge.ConnectingEvent) {
		s.note(func() { c.connecting = append(c.connecting, e) }, "%s connecting %+v", name, e)
	})
	c.OnDisconnected(func(e centrifuge.DisconnectedEvent) {
		s.note(func() { c.disconnected = append(c.disconnected, e) }, "%s disconnected %+v", name, e)
	})
	c.OnError(func(e centrifuge.ErrorEvent) {
		s.note(func() {}, "%s error %v", name, e.Error)
	})
	c.OnSubscribed(func(e centrifuge.ServerSubscribedEvent) {
		s.note(func() { c.subscribed = append(c.subscribed, e) }, "%s subscribed by the server %+v", name, e)
	})
	c.OnUnsubscribed(func(e centrifuge.ServerUnsubscribedEvent) {
		s.note(func() { c.unsubscribed = append(c.unsubscribed, e) }, "%s unsubscribed by the server %+v", name, e)
	})
	c.OnPublication(func(e centrifuge.ServerPublicationEvent) {
		s.note(func() { c.publications = append(c.publications, e) }, "%s %s: %d", name, e.Channel, e.Offset)
	})
	return c
}

func (s *Stage) connected(name, url string, config centrifuge.Config) *Client {
	c := s.client(name, url, config)
	must(c.Connect())
	c.isConnected(1)
	return c
}

func (c *Client) isConnected(times int) {
	c.stage.until(fmt.Sprintf("%s is connected %dx", c.name, times), func() bool {
		return len(c.connected) >= times && c.State() == centrifuge.StateConnected
	})
}

// isConnecting waits until the client has begun to connect so often.
func (c *Client) isConnecting(times int) {
	c.stage.until(fmt.Sprintf("%s is connecting %dx", c.name, times), func() bool { return len(c.connecting) >= times })
}

// stayed says that the client was never without its connection.
func (c *Client) stayed() {
	c.stage.mu.Lock()
	defer c.stage.mu.Unlock()
	check(len(c.connecting) == 1 && len(c.disconnected) == 0, "%s stayed connected: %v %v", c.name, c.connecting, c.disconnected)
}

// Room is a subscription with everything it was told.
type Room struct {
	*centrifuge.Subscription
	stage        *Stage
	who          string
	subscribed   []centrifuge.SubscribedEvent
	unsubscribed []centrifuge.UnsubscribedEvent
	publications []centrifuge.Publication
	joins        []string
	leaves       []string
}

// enter subscribes to a room, without waiting for the answer.
func (c *Client) enter(channel string, config centrifuge.SubscriptionConfig) *Room {
	sub, err := c.NewSubscription(channel, config)
	must(err)
	s := c.stage
	r := &Room{Subscription: sub, stage: s, who: c.name + " in " + channel[:min(len(channel), 40)]}
	sub.OnSubscribed(func(e centrifuge.SubscribedEvent) {
		s.note(func() { r.subscribed = append(r.subscribed, e) }, "%s subscribed %+v %+v", r.who, e, e.StreamPosition)
	})
	sub.OnUnsubscribed(func(e centrifuge.UnsubscribedEvent) {
		s.note(func() { r.unsubscribed = append(r.unsubscribed, e) }, "%s unsubscribed %+v", r.who, e)
	})
	sub.OnError(func(e centrifuge.SubscriptionErrorEvent) {
		s.note(func() {}, "%s error %v", r.who, e.Error)
	})
	sub.OnPublication(func(e centrifuge.PublicationEvent) {
		s.note(func() { r.publications = append(r.publications, e.Publication) }, "%s: %d", r.who, e.Offset)
	})
	sub.OnJoin(func(e centrifuge.JoinEvent) {
		s.note(func() { r.joins = append(r.joins, e.Client) }, "%s join %+v", r.who, e)
	})
	sub.OnLeave(func(e centrifuge.LeaveEvent) {
		s.note(func() { r.leaves = append(r.leaves, e.Client) }, "%s leave %+v", r.who, e)
	})
	must(sub.Subscribe())
	return r
}

func (c *Client) join(channel string, config ...centrifuge.SubscriptionConfig) *Room {
	r := c.enter(channel, append(config, centrifuge.SubscriptionConfig{})[0])
	r.isSubscribed(1)
	return r
}

func (r *Room) isSubscribed(times int) {
	r.stage.until(fmt.Sprintf("%s is subscribed %dx", r.who, times), func() bool {
		return len(r.subscribed) >= times && r.State() == centrifuge.SubStateSubscribed
	})
}

// isRefused waits until the room has ended with this code.
func (r *Room) isRefused(code uint32) {
	r.stage.until(r.who+" is refused", func() bool { return len(r.unsubscribed) == 1 })
	check(r.unsubscribed[0].Code == code, "%s: %+v", r.who, r.unsubscribed)
}

// cameBack says whether the last subscribe brought what was missed.
func (r *Room) cameBack(recovered bool) {
	r.stage.mu.Lock()
	defer r.stage.mu.Unlock()
	last := r.subscribed[len(r.subscribed)-1]
	check(last.WasRecovering && last.Recovered == recovered, "%s: %+v", r.who, last)
}

// got waits for the last message and says that these were all, in this order, each once.
func (r *Room) got(expected []any) {
	last := text(expected[len(expected)-1])
	r.stage.until(fmt.Sprintf("%s has %.200s", r.who, last), func() bool {
		return len(r.publications) > 0 && string(r.publications[len(r.publications)-1].Data) == last
	})
	r.stage.mu.Lock()
	defer r.stage.mu.Unlock()
	same(r.who, texts(r.publications), textsOf(expected))
	for at := 1; at < len(r.publications); at++ {
		check(r.publications[at-1].Offset < r.publications[at].Offset, "%s: offsets ascend, each once", r.who)
	}
}

func (r *Room) publishAll(messages []any) {
	for _, message := range messages {
		_, err := r.Publish(soon(), []byte(text(message)))
		must(err)
	}
}

// soon is the time that a request may take.
func soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	time.AfterFunc(deadline, cancel)
	return ctx
}

// messages are `count` messages that tell who sent them and when in his row.
func messages(sender string, count int) []any {
	list := make([]any, count)
	for n := range list {
		list[n] = map[string]any{"n": n + 1, "sender": sender}
	}
	return list
}

// text is what the node makes of data: one line, nothing escaped that need not be.
func text(data any) string {
	if raw, ok := data.(json.RawMessage); ok {
		return string(raw)
	}
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	must(encoder.Encode(data))
	return strings.TrimSuffix(out.String(), "\n")
}

func textsOf(list []any) []string {
	out := make([]string, len(list))
	for at, data := range list {
		out[at] = text(data)
	}
	return out
}

func texts(publications []centrifuge.Publication) []string {
	out := make([]string, len(publications))
	for at, publication := range publications {
		out[at] = string(publication.Data)
	}
	return out
}

// refused is the code of the error that must have come.
func refused(err error) uint32 {
	var failure *centrifuge.Error
	check(errors.As(err, &failure), "an error of the server was expected, not %v", err)
	check(failure.Message != "", "an error says why")
	return failure.Code
}

func same(what string, found, expected any) {
	short := func(value any) string {
		text := fmt.Sprint(value)
		return text[:min(len(text), 2000)]
	}
	check(reflect.DeepEqual(found, expected), "%s: got %s\ninstead of %s", what, short(found), short(expected))
}

func check(holds bool, format string, args ...any) {
	if !holds {
		panic(fmt.Sprintf(format, args...))
	}
}

func must(err error) {
	check(err == nil, "%v", err)
}

package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

type claims map[string]any

// token is a token as a backend signs it.
func token(of claims) string {
	secret, err := os.ReadFile("secret.txt")
	must(err)
	encoded := func(value any) string {
		text, err := json.Marshal(value)
		must(err)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	message := encoded(claims{"alg": "HS256", "typ": "JWT"}) + "." + encoded(of)
	mac := hmac.New(sha256.New, []byte(strings.TrimSpace(string(secret))))
	mac.Write([]byte(message))
	return message + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func in(seconds int64) int64 {
	return time.Now().Unix() + seconds
}

func by(of claims) centrifuge.Config {
	config := quick
	config.Token = token(of)
	return config
}

func pass(of claims) centrifuge.SubscriptionConfig {
	return centrifuge.SubscriptionConfig{Token: token(of)}
}

// tokens hands out what `of` makes for its n-th call, and counts.
func tokens(s *Stage, asked *atomic.Int32, of func(n int32) claims) func() (string, error) {
	return func() (string, error) {
		n := asked.Add(1)
		s.note(func() {}, "token %d was asked for", n)
		return token(of(n)), nil
	}
}

func connectionTokens(s *Stage, asked *atomic.Int32, of func(n int32) claims) centrifuge.Config {
	get, config := tokens(s, asked, of), quick
	config.GetToken = func(centrifuge.ConnectionTokenEvent) (string, error) { return get() }
	return config
}

func passes(s *Stage, asked *atomic.Int32, of func(n int32) claims) centrifuge.SubscriptionConfig {
	get := tokens(s, asked, of)
	return centrifuge.SubscriptionConfig{
		GetToken:            func(centrifuge.SubscriptionTokenEvent) (string, error) { return get() },
		MinResubscribeDelay: 100 * time.Millisecond,
	}
}

func aTokenNamesItsUser(s *Stage) {
	var asked atomic.Int32
	ann := s.connected("ann", s.at(0), by(claims{"sub": "ann", "info": claims{"name": "Ann"}}))
	bob := s.connected("bob", s.at(1), connectionTokens(s, &asked, func(int32) claims { return claims{"sub": "bob"} }))
	room := ann.join("closed:room", pass(claims{"sub": "ann", "channel": "closed:room", "info": claims{"role": "guest"}}))
	reading := bob.join("closed:room", passes(s, &asked, func(int32) claims { return claims{"sub": "bob", "channel": "closed:room"} }))
	room.publishAll([]any{"hello"})
	reading.got([]any{"hello"})
	info := reading.publications[0].Info
	same("info", []string{info.User, string(info.ConnInfo), string(info.ChanInfo)}, []string{"ann", `{"name":"Ann"}`, `{"role":"guest"}`})
}

func wrongTokensEndForGood(s *Stage) {
	tampered := token(claims{"sub": "ann"})
	tampered = tampered[:len(tampered)-8] + "AAAAAAAA"
	for _, it := range []struct {
		name, token string
		code        uint32
	}{{"nobody", "", 101}, {"eve", tampered, 3500}, {"late", token(claims{"sub": "ann", "exp": in(-60)}), 1}} {
		config := quick
		config.Token = it.token
		client := s.client(it.name, s.at(1), config)
		must(client.Connect())
		s.until(it.name+" has ended", func() bool { return len(client.disconnected) == 1 })
		last := client.disconnected[0]
		check(last.Code == it.code && last.Reason != "", "%s: %+v", it.name, last)
	}
	ann := s.connected("ann", s.at(0), by(claims{"sub": "ann"}))
	ann.enter("closed:a", centrifuge.SubscriptionConfig{}).isRefused(103)
	ann.enter("closed:b", pass(claims{"sub": "bob", "channel": "closed:b"})).isRefused(103)
	ann.enter("closed:c", pass(claims{"sub": "ann", "channel": "closed:b"})).isRefused(103)
	ann.enter("dm#bob", centrifuge.SubscriptionConfig{}).isRefused(103)
	ann.stayed()
}

func anExpiredTokenIsReplaced(s *Stage) {
	var asked, askedForRoom atomic.Int32
	old := func(n int32) int64 {
		if n == 1 {
			return in(-60)
		}
		return in(600)
	}
	ann := s.connected("ann", s.at(1), connectionTokens(s, &asked, func(n int32) claims { return claims{"sub": "ann", "exp": old(n)} }))
	ann.join("closed:room", passes(s, &askedForRoom, func(n int32) claims {
		return claims{"sub": "ann", "channel": "closed:room", "exp": old(n)}
	}))
	same("tokens", []int32{asked.Load(), askedForRoom.Load()}, []int32{2, 2})
	ann.stayed()
}

func sessionsAndStaysAreRefreshed(s *Stage) {
	var asked, askedForRoom atomic.Int32
	ann := s.connected("ann", s.at(0), connectionTokens(s, &asked, func(int32) claims { return claims{"sub": "ann", "exp": in(2)} }))
	room := ann.join("closed:room", passes(s, &askedForRoom, func(int32) claims {
		return claims{"sub": "ann", "channel": "closed:room", "exp": in(2)}
	}))
	// Longer than the first tokens' time and grace.
	s.within(30*time.Second, "five refreshes of each", func() bool { return asked.Load() >= 6 && askedForRoom.Load() >= 6 })
	room.publishAll([]any{"still here"})
	room.got([]any{"still here"})
	check(len(room.subscribed) == 1, "in one stay: %v", room.subscribed)
	ann.stayed()
}

func whoRefreshesTooLateComesBack(s *Stage) {
	var isAway atomic.Bool
	config := quick
	config.GetToken = func(centrifuge.ConnectionTokenEvent) (string, error) {
		if isAway.Load() {
			return "", errors.New("the backend is away")
		}
		return token(claims{"sub": "ann", "exp": in(2)}), nil
	}
	proxy := proxyTo(s.at(1))
	ann := s.connected("ann", proxy.url, config)
	room := ann.join("room")
	isAway.Store(true)
	// It comes back to another node, if there is one.
	proxy.leadTo(s.at(2))
	ann.isConnecting(2)
	check(ann.connecting[1].Code == 3005, "%+v", ann.connecting)
	isAway.Store(false)
	ann.isConnected(2)
	room.isSubscribed(2)
	check(len(ann.disconnected) == 0, "%+v", ann.disconnected)
}

// heard is what a client was told in rooms that it was put into.
func (c *Client) heard(last int) {
	c.stage.until("all is told", func() bool { return len(c.publications) >= last })
	c.stage.mu.Lock()
	defer c.stage.mu.Unlock()
	var found, expected []any
	for n, publication := range c.publications {
		found = append(found, publication.Channel+" "+string(publication.Data))
		expected = append(expected, "given:news "+text(n+1))
	}
	same(c.name, found, expected)
}

func givenRoomsAreJoinedAndRecovered(s *Stage) {
	proxy := proxyTo(s.at(1))
	bob := s.connected("bob", s.at(0), by(claims{"sub": "bob", "channels": []string{"given:news"}}))
	ann := s.connected("ann", proxy.url, by(claims{"sub": "ann", "channels": []string{"given:news", "other"}}))
	says := func(n int) {
		_, err := bob.Publish(soon(), "given:news", []byte(text(n)))
		must(err)
	}
	s.until("both rooms are joined", func() bool { return len(ann.subscribed) == 2 })
	says(1)
	ann.heard(1)
	proxy.cut()
	ann.isConnecting(2)
	says(2)
	proxy.leadTo(s.at(2))
	proxy.heal()
	s.until("both rooms are joined again", func() bool { return len(ann.subscribed) == 4 })
	for _, each := range ann.subscribed[2:] {
		check(each.WasRecovering && each.Recovered, "%+v", each)
	}
	says(3)
	ann.heard(3)
}

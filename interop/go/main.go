// amqp091-go against a broker: what applications do with it, and the errors they match on.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func main() {
	run([]check{
		{"properties and headers round trip", propertiesRoundTrip},
		{"confirms", confirms},
		{"a full queue nacks", fullQueueNacks},
		{"unroutable messages return before their confirm", returns},
		{"consume with prefetch", consumeWithPrefetch},
		{"nack and reject", nackAndReject},
		{"large messages in many frames", largeMessages},
		{"exchanges and bindings", exchangesAndBindings},
		{"exchange to exchange", exchangeToExchange},
		{"rpc over a queue", rpc},
		{"rpc over direct reply-to", directReplyTo},
		{"transactions", transactions},
		{"a deleted queue cancels its consumer", cancelledConsumer},
		{"channel errors", channelErrors},
		{"connection errors", connectionErrors},
		{"bad logins", badLogins},
		{"many channels", manyChannels},
		{"update-secret", updateSecret},
		{"a forced close is seen", forcedClose},
		{"recovery after a forced close", recovery},
		{"tls, and a certificate as the login", overTLS},
	})
}

func connect() *amqp.Connection {
	return must(amqp.Dial(url()))
}

// An open connection, a channel and an exclusive queue on it.
func open() (*amqp.Connection, *amqp.Channel, string) {
	connection := connect()
	channel := must(connection.Channel())
	return connection, channel, must(channel.QueueDeclare("", false, false, true, false, nil)).Name
}

func publish(channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	ok(channel.PublishWithContext(context.Background(), exchange, key, false, false, message))
}

func body(text string) amqp.Publishing {
	return amqp.Publishing{Body: []byte(text)}
}

// The message that is in the queue.
func get(channel *amqp.Channel, queue string) amqp.Delivery {
	message, found, err := channel.Get(queue, true)
	ok(err)
	if !found {
		panic("the queue is empty")
	}
	return message
}

func isEmpty(channel *amqp.Channel, queue string) {
	_, found, err := channel.Get(queue, true)
	ok(err)
	equal(found, false)
}

func propertiesRoundTrip() {
	connection, channel, queue := open()
	defer connection.Close()
	sent := amqp.Publishing{
		Headers: amqp.Table{
			"bool":    true,
			"int8":    int8(-8),
			"byte":    byte(8),
			"int16":   int16(-16),
			"int32":   int32(-32),
			"int64":   int64(-64),
			"float":   float32(0.5),
			"double":  0.25,
			"decimal": amqp.Decimal{Scale: 2, Value: 12345},
			"text":    "ü",
			"bytes":   []byte{0, 255},
			"time":    time.Unix(1_700_000_000, 0),
			"list":    []any{int32(1), "two", amqp.Table{"three": int64(3)}},
			"table":   amqp.Table{"deep": amqp.Table{"void": nil}},
		},
		ContentType:     "text/plain",
		ContentEncoding: "utf-8",
		DeliveryMode:    amqp.Persistent,
		Priority:        5,
		CorrelationId:   "correlation",
		ReplyTo:         "reply",
		Expiration:      "60000",
		MessageId:       "message",
		Timestamp:       time.Unix(1_700_000_000, 0),
		Type:            "type",
		UserId:          "guest",
		AppId:           "app",
		Body:            []byte("body"),
	}
	publish(channel, "", queue, sent)
	found := get(channel, queue)
	if !reflect.DeepEqual(found.Headers, sent.Headers) {
		panic(fmt.Sprintf("headers: %#v", found.Headers))
	}
	equal(found.Redelivered, false)
	received := amqp.Publishing{
		Headers: found.Headers, ContentType: found.ContentType,
		ContentEncoding: found.ContentEncoding, DeliveryMode: found.DeliveryMode,
		Priority: found.Priority, CorrelationId: found.CorrelationId, ReplyTo: found.ReplyTo,
		Expiration: found.Expiration, MessageId: found.MessageId, Timestamp: found.Timestamp,
		Type: found.Type, UserId: found.UserId, AppId: found.AppId, Body: found.Body,
	}
	if !reflect.DeepEqual(received, sent) {
		panic(fmt.Sprintf("received %#v", received))
	}
}

func confirms() {
	connection := connect()
	defer connection.Close()
	channel := must(connection.Channel())
	queue := must(channel.QueueDeclare(unique("go"), true, false, false, false, nil)).Name
	ok(channel.Confirm(false))
	var pending []*amqp.DeferredConfirmation
	persistent := amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("x")}
	for i := 0; i < 1000; i++ {
		pending = append(pending, must(channel.PublishWithDeferredConfirm("", queue, false, false, persistent)))
	}
	limit, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, confirmation := range pending {
		equal(must(confirmation.WaitContext(limit)), true)
	}
	equal(must(channel.QueueDelete(queue, false, false, false)), 1000)
}

func fullQueueNacks() {
	connection := connect()
	defer connection.Close()
	channel := must(connection.Channel())
	arguments := amqp.Table{"x-max-length": int32(1), "x-overflow": "reject-publish"}
	queue := must(channel.QueueDeclare("", false, false, true, false, arguments)).Name
	ok(channel.Confirm(false))
	confirmed := channel.NotifyPublish(make(chan amqp.Confirmation, 2))
	publish(channel, "", queue, body("taken"))
	publish(channel, "", queue, body("refused"))
	equal(next(confirmed), amqp.Confirmation{DeliveryTag: 1, Ack: true})
	equal(next(confirmed), amqp.Confirmation{DeliveryTag: 2, Ack: false})
	equal(string(get(channel, queue).Body), "taken")
}

func returns() {
	connection := connect()
	defer connection.Close()
	channel := must(connection.Channel())
	ok(channel.Confirm(false))
	// Without room for both, the library's reader would wait for the one that comes first.
	returned := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirmed := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	message := amqp.Publishing{Headers: amqp.Table{"kept": "yes"}, Body: []byte("lost")}
	ok(channel.PublishWithContext(context.Background(), "", unique("nowhere"), true, false, message))
	equal(next(confirmed).Ack, true)
	select {
	case back := <-returned:
		equal(back.ReplyCode, uint16(amqp.NoRoute))
		equal(back.ReplyText, "NO_ROUTE")
		equal(back.Headers["kept"], any("yes"))
		equal(string(back.Body), "lost")
	default:
		panic("the confirm came first")
	}
}

func consumeWithPrefetch() {
	connection, channel, queue := open()
	defer connection.Close()
	ok(channel.Qos(5, 0, false))
	deliveries := must(channel.Consume(queue, "me", false, false, false, false, nil))
	for i := 0; i < 50; i++ {
		publish(channel, "", queue, body(fmt.Sprint(i)))
	}
	for i := 0; i < 50; i++ {
		delivery := next(deliveries)
		equal(string(delivery.Body), fmt.Sprint(i))
		equal(delivery.DeliveryTag, uint64(i+1))
		equal(delivery.ConsumerTag, "me")
		ok(delivery.Ack(i%3 == 0))
	}
	ok(channel.Cancel("me", false))
	equal(must(channel.QueueDeclarePassive(queue, false, false, true, false, nil)).Messages, 0)
}

func nackAndReject() {
	connection, channel, queue := open()
	defer connection.Close()
	deliveries := must(channel.Consume(queue, "", false, false, false, false, nil))
	publish(channel, "", queue, body("x"))
	first := next(deliveries)
	equal(first.Redelivered, false)
	ok(first.Nack(false, true))
	second := next(deliveries)
	equal(second.Redelivered, true)
	ok(second.Reject(true))
	ok(next(deliveries).Reject(false))
	equal(must(channel.QueueDeclarePassive(queue, false, false, true, false, nil)).Messages, 0)
}

func largeMessages() {
	config := amqp.Config{FrameSize: 4096}
	connection := must(amqp.DialConfig(url(), config))
	defer connection.Close()
	equal(connection.Config.FrameSize, 4096)
	channel := must(connection.Channel())
	queue := must(channel.QueueDeclare("", false, false, true, false, nil)).Name
	for _, size := range []int{0, 1, 4088, 4089, 1_000_000} {
		publish(channel, "", queue, body(strings.Repeat("x", size)))
		equal(len(get(channel, queue).Body), size)
	}
}

func exchangesAndBindings() {
	connection, channel, queue := open()
	defer connection.Close()
	for _, kind := range []struct {
		name, binding, key string
		arguments          amqp.Table
	}{
		{"direct", "k", "k", nil},
		{"fanout", "", "other", nil},
		{"topic", "a.#", "a.b.c", nil},
		{"headers", "", "", amqp.Table{"x-match": "all", "a": int32(1)}},
	} {
		exchange := unique(kind.name)
		ok(channel.ExchangeDeclare(exchange, kind.name, false, false, false, false, nil))
		ok(channel.ExchangeDeclarePassive(exchange, kind.name, false, false, false, false, nil))
		ok(channel.QueueBind(queue, kind.binding, exchange, false, kind.arguments))
		// The same number, one wider.
		message := amqp.Publishing{Headers: amqp.Table{"a": int64(1)}}
		publish(channel, exchange, kind.key, message)
		found := get(channel, queue)
		equal(found.Exchange, exchange)
		equal(found.RoutingKey, kind.key)
		ok(channel.QueueUnbind(queue, kind.binding, exchange, kind.arguments))
		publish(channel, exchange, kind.key, message)
		isEmpty(channel, queue)
		ok(channel.ExchangeDelete(exchange, true, false))
	}
}

func exchangeToExchange() {
	connection, channel, queue := open()
	defer connection.Close()
	source, target := unique("source"), unique("target")
	ok(channel.ExchangeDeclare(source, "topic", false, true, false, false, nil))
	ok(channel.ExchangeDeclare(target, "fanout", false, true, true, false, nil))
	ok(channel.ExchangeBind(target, "a.*", source, false, nil))
	ok(channel.QueueBind(queue, "", target, false, nil))
	publish(channel, source, "a.b", body("through"))
	equal(string(get(channel, queue).Body), "through")
	ok(channel.ExchangeUnbind(target, "a.*", source, false, nil))
}

// Answers what it gets, in capitals, until its connection is closed.
func serve(channel *amqp.Channel, queue string) {
	requests := must(channel.Consume(queue, "", false, false, false, false, nil))
	go func() {
		for request := range requests {
			publish(channel, "", request.ReplyTo, amqp.Publishing{
				CorrelationId: request.CorrelationId,
				Body:          []byte(strings.ToUpper(string(request.Body))),
			})
			ok(request.Ack(false))
		}
	}()
}

func rpc() {
	serving, server, requests := open()
	defer serving.Close()
	serve(server, requests)
	asking, client, replies := open()
	defer asking.Close()
	ask(client, requests, replies, must(client.Consume(replies, "", true, false, false, false, nil)))
}

func directReplyTo() {
	serving, server, requests := open()
	defer serving.Close()
	serve(server, requests)
	asking := connect()
	defer asking.Close()
	client := must(asking.Channel())
	const replies = "amq.rabbitmq.reply-to"
	ask(client, requests, replies, must(client.Consume(replies, "", true, false, false, false, nil)))
}

func ask(client *amqp.Channel, requests, replies string, answers <-chan amqp.Delivery) {
	for i := 0; i < 10; i++ {
		publish(client, "", requests, amqp.Publishing{
			ReplyTo:       replies,
			CorrelationId: fmt.Sprint(i),
			Body:          []byte(fmt.Sprint("request ", i)),
		})
		answer := next(answers)
		equal(answer.CorrelationId, fmt.Sprint(i))
		equal(string(answer.Body), fmt.Sprint("REQUEST ", i))
	}
}

func transactions() {
	connection, channel, queue := open()
	defer connection.Close()
	ok(channel.Tx())
	publish(channel, "", queue, body("kept"))
	isEmpty(channel, queue)
	ok(channel.TxCommit())
	publish(channel, "", queue, body("dropped"))
	ok(channel.TxRollback())
	equal(string(get(channel, queue).Body), "kept")
	isEmpty(channel, queue)
}

func cancelledConsumer() {
	connection := connect()
	defer connection.Close()
	channel := must(connection.Channel())
	queue := must(channel.QueueDeclare(unique("go"), false, false, false, false, nil)).Name
	cancelled := channel.NotifyCancel(make(chan string, 1))
	deliveries := must(channel.Consume(queue, "me", false, false, false, false, nil))
	must(must(connection.Channel()).QueueDelete(queue, false, false, false))
	equal(next(cancelled), "me")
	if _, open := <-deliveries; open {
		panic("a cancelled consumer got a delivery")
	}
}

func channelErrors() {
	connection := connect()
	defer connection.Close()
	name := unique("missing")
	exclusive := must(must(connection.Channel()).QueueDeclare("", false, false, true, false, nil)).Name
	other := connect()
	defer other.Close()
	for _, refusal := range []struct {
		code    int
		text    string
		attempt func(*amqp.Channel) error
	}{
		{404, "NOT_FOUND - no queue '" + name + "' in vhost '/'", func(channel *amqp.Channel) error {
			_, err := channel.QueueDeclarePassive(name, false, false, false, false, nil)
			return err
		}},
		{404, "NOT_FOUND - no queue '" + name + "' in vhost '/'", func(channel *amqp.Channel) error {
			_, err := channel.Consume(name, "", false, false, false, false, nil)
			return err
		}},
		{404, "NOT_FOUND - no exchange '" + name + "' in vhost '/'", func(channel *amqp.Channel) error {
			return channel.ExchangeBind("amq.direct", "", name, false, nil)
		}},
		{403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
			func(channel *amqp.Channel) error {
				return channel.ExchangeDeclare("amq.mine", "direct", false, false, false, false, nil)
			}},
		{406, "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'amq.topic' in vhost '/': " +
			"received 'false' but current is 'true'", func(channel *amqp.Channel) error {
			return channel.ExchangeDeclare("amq.topic", "topic", false, false, false, false, nil)
		}},
		{405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '" + exclusive +
			"' in vhost '/'. It could be originally declared on another connection or the exclusive " +
			"property value does not match that of the original declaration.",
			func(channel *amqp.Channel) error {
				_, err := channel.QueuePurge(exclusive, false)
				return err
			}},
	} {
		refused(refusal.attempt(must(other.Channel())), refusal.code, refusal.text)
	}
	// Errors that no call waits for.
	for _, refusal := range []struct {
		code    int
		text    string
		attempt func(*amqp.Channel)
	}{
		{404, "NOT_FOUND - no exchange '" + name + "' in vhost '/'", func(channel *amqp.Channel) {
			publish(channel, name, "", body("lost"))
		}},
		{406, "PRECONDITION_FAILED - unknown delivery tag 7", func(channel *amqp.Channel) {
			ok(channel.Ack(7, false))
		}},
	} {
		channel := must(other.Channel())
		closed := channel.NotifyClose(make(chan *amqp.Error, 1))
		refusal.attempt(channel)
		refused(next(closed), refusal.code, refusal.text)
	}
	must(must(other.Channel()).QueueDeclare("", false, false, true, false, nil))
}

func connectionErrors() {
	for _, refusal := range []struct {
		code    int
		text    string
		attempt func(*amqp.Channel, string)
	}{
		{540, "NOT_IMPLEMENTED - immediate=true", func(channel *amqp.Channel, queue string) {
			ok(channel.PublishWithContext(context.Background(), "", queue, false, true, body("x")))
		}},
		{540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)", func(channel *amqp.Channel, _ string) {
			_ = channel.Qos(1, 10, false)
		}},
		{540, "NOT_IMPLEMENTED - active=false", func(channel *amqp.Channel, _ string) {
			_ = channel.Flow(false)
		}},
	} {
		connection, channel, queue := open()
		closed := connection.NotifyClose(make(chan *amqp.Error, 1))
		refusal.attempt(channel, queue)
		refused(next(closed), refusal.code, refusal.text)
	}
}

func badLogins() {
	_, err := amqp.Dial(strings.Replace(url(), "guest:guest", "guest:wrong", 1))
	refused(err, 403, "username or password not allowed")
	_, err = amqp.Dial(strings.Replace(url(), "/%2f", "/missing", 1))
	refused(err, 530, "NOT_ALLOWED - vhost missing not found")
}

func manyChannels() {
	connection := connect()
	defer connection.Close()
	var channels []*amqp.Channel
	for i := 0; i < 200; i++ {
		channels = append(channels, must(connection.Channel()))
	}
	for _, channel := range channels {
		queue := must(channel.QueueDeclare("", false, false, true, false, nil)).Name
		publish(channel, "", queue, body(queue))
		equal(string(get(channel, queue).Body), queue)
		ok(channel.Close())
	}
	// The library takes their numbers again at once.
	for i := 0; i < 200; i++ {
		ok(must(connection.Channel()).Close())
	}
}

func updateSecret() {
	connection := connect()
	defer connection.Close()
	ok(connection.UpdateSecret("guest", "it was time"))
	ok(must(connection.Channel()).Close())
}

func forcedClose() {
	connection, channel, _ := open()
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	channelClosed := channel.NotifyClose(make(chan *amqp.Error, 1))
	restartBroker()
	const text = "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
	refused(next(closed), 320, text)
	refused(next(channelClosed), 320, text)
}

func recovery() {
	connection := must(amqp.DialConfig(url(), amqp.Config{
		Recovery: &amqp.Recovery{
			ReconnectionConfig: &amqp.ReconnectionConfig{
				MaxRetryCount: 100, RetryInterval: 100 * time.Millisecond,
			},
		},
	}))
	defer connection.Close()
	channel := must(connection.Channel())
	exchange, queue := unique("go"), unique("go")
	ok(channel.ExchangeDeclare(exchange, "fanout", false, true, false, false, nil))
	must(channel.QueueDeclare(queue, false, false, true, false, nil))
	ok(channel.QueueBind(queue, "", exchange, false, nil))
	deliveries := must(channel.Consume(queue, "me", true, false, false, false, nil))
	publish(channel, exchange, "", body("before"))
	equal(string(next(deliveries).Body), "before")

	states := make(chan *amqp.StateChanged, 100)
	connection.NotifyStateChange(states)
	restartBroker()
	for next(states).To != amqp.StateOpen {
	}
	publish(channel, exchange, "", body("after"))
	equal(string(next(deliveries).Body), "after")
}

func overTLS() {
	address := os.Getenv("AMQPS_ADDRESS")
	if address == "" {
		panic(skipped("nobody said where TLS is spoken"))
	}
	directory := os.Getenv("AMQPS_CERTIFICATES")
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(must(os.ReadFile(filepath.Join(directory, "ca.pem")))) {
		panic("no authority")
	}
	own := must(tls.LoadX509KeyPair(filepath.Join(directory, "client.pem"), filepath.Join(directory, "client.key")))
	plain := &tls.Config{RootCAs: authorities, ServerName: "localhost"}
	certified := plain.Clone()
	certified.Certificates = []tls.Certificate{own}
	for user, connection := range map[string]*amqp.Connection{
		"guest":   must(amqp.DialTLS("amqps://guest:guest@"+address, plain)),
		"interop": must(amqp.DialTLS_ExternalAuth("amqps://"+address, certified)),
	} {
		channel := must(connection.Channel())
		queue := must(channel.QueueDeclare("", false, false, true, false, nil)).Name
		publish(channel, "", queue, amqp.Publishing{UserId: user, Body: []byte("x")})
		if got := get(channel, queue); got.UserId != user {
			panic(fmt.Sprintf("%s is %q", user, got.UserId))
		}
		ok(connection.Close())
	}
	if _, err := amqp.DialTLS_ExternalAuth("amqps://"+address, plain); err == nil {
		panic("a client without a certificate was let in")
	}
}

"""kombu: what applications and Celery's own machinery do with it over py-amqp."""

import socket
import sys
import threading

from amqp.exceptions import (
    AccessRefused,
    ConnectionForced,
    MessageNacked,
    NotFound,
    PreconditionFailed,
    ResourceLocked,
)
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.common import Broadcast, QoS, itermessages
from kombu.mixins import ConsumerMixin, ConsumerProducerMixin
from kombu.pidbox import Mailbox

from checks import URL, restart_broker, run, unique


def connect(**options):
    return Connection(URL, transport_options=options)


def exclusive(channel, **options):
    """A queue of our own, declared."""
    queue = Queue(unique("kombu"), exclusive=True, durable=False, **options)(channel)
    queue.declare()
    return queue


def take(connection, channel, queue, count):
    """The next messages of a queue, acknowledged."""
    taken = []
    for _body, message in itermessages(connection, channel, queue, limit=count, timeout=10):
        message.ack()
        taken.append(message)
        if len(taken) == count:
            return taken
    raise AssertionError(f"{len(taken)} messages instead of {count}")


def check_the_broker_is_taken_for_rabbitmq():
    with connect() as connection:
        properties = connection.connection.server_properties
        assert properties["product"] == "RabbitMQ", properties
        assert all(part.isdigit() for part in properties["version"].split(".")), properties
        # What kombu makes of both: prefetch is asked for per consumer.
        assert connection.qos_semantics_matches_spec is (properties["version"] >= "4"), properties
        capabilities = properties["capabilities"]
        assert capabilities["connection.blocked"] and capabilities["consumer_cancel_notify"]


def check_serializers_compression_and_headers():
    with connect() as connection, connection.channel() as channel:
        queue = exclusive(channel)
        producer = Producer(channel)
        sent = {"text": "ü", "number": 2**40, "list": [1, None, True]}
        headers = {"text": "ü", "int": 1, "long": 2**40, "list": [1, "two"], "deep": {"x": False}}
        for options in (
            {"serializer": "json"},
            {"serializer": "pickle"},
            {"serializer": "json", "compression": "zlib"},
        ):
            producer.publish(
                sent, routing_key=queue.name, headers=dict(headers), priority=3, correlation_id="c",
                reply_to="r", expiration=60, message_id="m", type="t", app_id="a",                 **options,
            )
        for body, message in itermessages(
            connection, channel, queue, limit=3, timeout=10, accept=["json", "pickle"]
        ):
            message.ack()
            assert body == sent, body
            assert {name: message.headers[name] for name in headers} == headers, message.headers
            properties = message.properties
            for name, value in (
                ("priority", 3), ("correlation_id", "c"), ("reply_to", "r"), ("message_id", "m"),
                ("expiration", "60000"), ("type", "t"), ("app_id", "a"), ("delivery_mode", 2),
            ):
                assert properties[name] == value, (name, properties)


def check_publishes_are_confirmed():
    with connect(confirm_publish=True) as connection, connection.channel() as channel:
        queue = Queue(unique("kombu"))(channel)
        queue.declare()
        producer = Producer(channel)
        for number in range(50):
            producer.publish(number, routing_key=queue.name)
        assert queue.queue_declare(passive=True).message_count == 50
        assert queue.purge() == 50
        assert queue.delete() == 0


def check_a_full_queue_refuses():
    with connect(confirm_publish=True) as connection, connection.channel() as channel:
        queue = exclusive(
            channel, max_length=1, queue_arguments={"x-overflow": "reject-publish"}
        )
        producer = Producer(channel)
        producer.publish("taken", routing_key=queue.name)
        try:
            producer.publish("refused", routing_key=queue.name)
        except MessageNacked:
            pass
        else:
            raise AssertionError("a full queue took a message")
        assert queue.get(no_ack=True).payload == "taken"


def check_unroutable_messages_return():
    with connect(confirm_publish=True) as connection, connection.channel() as channel:
        returned = []
        producer = Producer(channel, on_return=lambda *returns: returned.append(returns))
        name = unique("nowhere")
        producer.publish("lost", routing_key=name, mandatory=True, headers={"kept": "yes"})
        # It came before the confirm that `publish` waited for.
        ((_error, exchange, key, message),) = returned
        assert (exchange, key) == ("", name), returned
        assert message.headers["kept"] == "yes", message.headers
        assert _error.reply_code == 312 and _error.reply_text == "NO_ROUTE", _error


def check_ack_reject_and_requeue():
    with connect() as connection, connection.channel() as channel:
        queue = exclusive(channel)
        Producer(channel).publish("x", routing_key=queue.name)
        first = queue.get()
        assert first.delivery_info["redelivered"] is False
        first.requeue()
        second = queue.get()
        assert second.delivery_info["redelivered"] is True
        second.reject()
        assert queue.get() is None
        Producer(channel).publish("y", routing_key=queue.name)
        assert queue.get().ack() is None
        assert queue.get() is None


def check_consumers_share_a_prefetch():
    with connect() as connection, connection.channel() as channel:
        queue = exclusive(channel)
        producer = Producer(channel)
        arrived = []
        consumer = Consumer(channel, [queue], on_message=arrived.append)
        # As Celery's workers: the limit follows what they do.
        qos = QoS(
            lambda prefetch_count: consumer.qos(prefetch_count=prefetch_count, apply_global=True),
            2,
        )
        qos.update()
        with consumer:
            for number in range(10):
                producer.publish(number, routing_key=queue.name)
            drain(connection, lambda: len(arrived) == 2)
            # A round trip later no more has come.
            queue.queue_declare(passive=True)
            assert [message.payload for message in arrived] == [0, 1]
            qos.increment_eventually(3)
            qos.update()
            drain(connection, lambda: len(arrived) == 5)
            queue.queue_declare(passive=True)
            assert len(arrived) == 5
            for message in arrived:
                message.ack()
            drain(connection, lambda: len(arrived) == 10)
            assert [message.payload for message in arrived] == list(range(10))


def drain(connection, is_done):
    while not is_done():
        connection.drain_events(timeout=10)


def check_exchanges():
    with connect() as connection, connection.channel() as channel:
        for kind, binding, key, headers in (
            ("direct", "k", "k", {}),
            ("fanout", "", "other", {}),
            ("topic", "a.#", "a.b.c", {}),
            ("headers", "", "", {"a": "1", "x-match": "all"}),
        ):
            exchange = Exchange(unique(kind), kind, auto_delete=True)
            queue = exclusive(
                channel, exchange=exchange, routing_key=binding, binding_arguments=headers
            )
            Producer(channel, exchange).publish("x", routing_key=key, headers={"a": "1"})
            (message,) = take(connection, channel, queue, 1)
            info = message.delivery_info
            assert (info["exchange"], info["routing_key"]) == (exchange.name, key), info
            queue.unbind_from(exchange, routing_key=binding, arguments=headers)
            # It was bound once and has lost its last binding.
            try:
                exchange(connection.channel()).declare(passive=True)
            except NotFound as error:
                assert error.reply_text == f"NOT_FOUND - no exchange '{exchange.name}' in vhost '/'"
            else:
                raise AssertionError("an exchange outlived its last binding")


def check_exchange_to_exchange():
    with connect() as connection, connection.channel() as channel:
        source = Exchange(unique("source"), "topic", auto_delete=True)(channel)
        target = Exchange(unique("target"), "fanout", auto_delete=True)(channel)
        source.declare()
        target.declare()
        target.bind_to(source, routing_key="a.*")
        queue = exclusive(channel, exchange=Exchange(target.name, "fanout", passive=True))
        producer = Producer(channel, source)
        producer.publish("through", routing_key="a.b")
        producer.publish("past", routing_key="b.a")
        (message,) = take(connection, channel, queue, 1)
        assert message.payload == "through"
        target.unbind_from(source, routing_key="a.*")


def check_broadcast():
    name = unique("broadcast")
    with connect() as connection:
        queues = []
        for _ in range(3):
            channel = connection.channel()
            queues.append(Broadcast(name, auto_delete=True)(channel))
            queues[-1].declare()
        Producer(connection.channel(), Exchange(name, "fanout")).publish("all")
        for queue in queues:
            (message,) = take(connection, queue.channel, queue, 1)
            assert message.payload == "all"
        Exchange(name, "fanout")(connection.channel()).delete()


def check_queues_with_arguments():
    with connect() as connection, connection.channel() as channel:
        dead = exclusive(channel)
        queue = exclusive(
            channel,
            expires=60,
            message_ttl=0.05,
            max_length=100,
            max_length_bytes=10_000,
            max_priority=10,
            queue_arguments={
                "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name,
            },
        )
        # As every start of an application declares it.
        queue.declare()
        producer = Producer(channel)
        for priority in (1, 9, 5):
            producer.publish(priority, routing_key=queue.name, priority=priority)
        first, second, third = take(connection, channel, dead, 3)
        assert sorted(m.payload for m in (first, second, third)) == [1, 5, 9]
        (death,) = first.headers["x-death"]
        assert (death["reason"], death["queue"], death["count"]) == ("expired", queue.name, 1), death
        assert first.headers["x-first-death-reason"] == "expired"


def check_priorities_of_messages_and_consumers():
    with connect() as connection, connection.channel() as channel:
        queue = exclusive(channel, max_priority=9)
        producer = Producer(channel)
        for priority in (0, 3, 9, 3):
            producer.publish(priority, routing_key=queue.name, priority=priority)
        assert [m.payload for m in take(connection, channel, queue, 4)] == [9, 3, 3, 0]

        shared = exclusive(channel)
        low, high = [], []
        for arrived, priority in ((low, 1), (high, 10)):
            consumer = Consumer(
                connection.channel(),
                [Queue(shared.name, no_declare=True, consumer_arguments={"x-priority": priority})],
                on_message=arrived.append,
                auto_declare=False,
                prefetch_count=2,
            )
            consumer.consume()
        for number in range(3):
            producer.publish(number, routing_key=shared.name)
        drain(connection, lambda: len(low) + len(high) == 3)
        assert ([m.payload for m in high], [m.payload for m in low]) == ([0, 1], [2])


def check_simple_queues():
    with connect(confirm_publish=True) as connection:
        name = unique("simple")
        with connection.SimpleQueue(name) as queue:
            for number in range(3):
                queue.put({"number": number})
            assert queue.qsize() == 3
            for number in range(3):
                message = queue.get(timeout=10)
                assert message.payload == {"number": number}
                message.ack()
            try:
                queue.get_nowait()
            except queue.Empty:
                pass
            else:
                raise AssertionError("a message came twice")
        assert queue.queue(connection.channel()).delete() == 0
        with connection.SimpleBuffer(unique("buffer")) as buffer:
            buffer.put("transient")
            assert buffer.get(timeout=10).payload == "transient"


def check_pidbox():
    """Celery's remote control: a fanout to all, replies to a queue with an expiry."""
    mailbox = Mailbox(unique("mailbox"), type="fanout", accept=["json"])
    stop = threading.Event()
    ready = threading.Barrier(4)

    def serve(hostname):
        with connect() as connection:
            node = mailbox(connection).Node(hostname)
            node.channel = connection.channel()
            node.handler(ping)
            with node.listen():
                ready.wait(10)
                while not stop.is_set():
                    try:
                        connection.drain_events(timeout=0.05)
                    except socket.timeout:
                        pass

    def ping(_state, word="pong"):
        return word

    threads = [threading.Thread(target=serve, args=(f"node{n}",), daemon=True) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        ready.wait(10)
        with connect() as connection:
            caller = mailbox(connection)
            replies = caller._broadcast(
                "ping", {"word": "here"}, reply=True, limit=3, timeout=10
            )
            answers = {host: answer for reply in replies for host, answer in reply.items()}
            assert answers == {f"node{n}": "here" for n in range(3)}, answers
            replies = caller._broadcast("ping", reply=True, destination=["node1"], limit=1,
                                        timeout=10)
            assert replies == [{"node1": "pong"}], replies
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def check_direct_reply_to():
    class Server(ConsumerProducerMixin):
        def __init__(self, connection, queue):
            self.connection, self.queue = connection, queue

        def get_consumers(self, consumer, _channel):
            return [consumer([self.queue], on_message=self.on_message, prefetch_count=1)]

        def on_message(self, message):
            self.producer.publish(
                message.payload * 2, exchange="", routing_key=message.properties["reply_to"],
                correlation_id=message.properties["correlation_id"],
            )
            message.ack()
            self.should_stop = message.payload == 9

    queue = Queue(unique("rpc"), auto_delete=True, durable=False)
    with connect() as serving, connect() as asking:
        queue(asking.channel()).declare()
        server = threading.Thread(target=Server(serving, queue).run, daemon=True)
        server.start()
        channel = asking.channel()
        answers = {}
        consumer = Consumer(
            channel,
            [Queue("amq.rabbitmq.reply-to", no_declare=True)],
            on_message=lambda m: answers.update({m.properties["correlation_id"]: m.payload}),
            no_ack=True,
            auto_declare=False,
        )
        with consumer:
            for number in range(10):
                Producer(channel).publish(
                    number, routing_key=queue.name, reply_to="amq.rabbitmq.reply-to",
                    correlation_id=str(number),
                )
            drain(asking, lambda: len(answers) == 10)
        assert answers == {str(n): 2 * n for n in range(10)}, answers
        server.join()


def check_transactions():
    with connect() as connection, connection.channel() as channel:
        queue = exclusive(channel)
        producer = Producer(channel)
        channel.tx_select()
        producer.publish("kept", routing_key=queue.name)
        assert queue.get() is None
        channel.tx_commit()
        producer.publish("dropped", routing_key=queue.name)
        channel.tx_rollback()
        message = queue.get()
        assert message.payload == "kept"
        channel.basic_ack(message.delivery_tag)
        # The acknowledgement is taken back with the rest of the transaction.
        channel.tx_rollback()
        channel.basic_ack(message.delivery_tag)
        channel.tx_commit()
        channel.basic_recover(requeue=True)
        assert queue.get() is None


def check_recover():
    with connect() as connection, connection.channel() as channel:
        queue = exclusive(channel)
        Producer(channel).publish("x", routing_key=queue.name)
        assert queue.get().delivery_info["redelivered"] is False
        channel.basic_recover(requeue=True)
        assert queue.get().delivery_info["redelivered"] is True


def check_a_deleted_queue_cancels_its_consumer():
    with connect() as connection, connection.channel() as channel:
        queue = Queue(unique("deleted"), auto_delete=True, durable=False)
        cancelled = []
        channel.basic_consume(
            queue(channel).declare(), consumer_tag="me", on_cancel=cancelled.append
        )
        queue(connection.channel()).delete()
        drain(connection, lambda: cancelled)
        assert cancelled == ["me"], cancelled


def expect(error_type, code, text, operation):
    """The operation closes its channel with this code and text, and leaves the connection alive."""
    with connect() as connection:
        try:
            operation(connection.channel())
        except error_type as error:
            assert (error.reply_code, error.reply_text) == (code, text), error
        else:
            raise AssertionError(f"no error; expected {code} {text}")
        assert connection.connected
        exclusive(connection.channel())


def check_topology_errors():
    name = unique("missing")
    expect(
        NotFound, 404, f"NOT_FOUND - no queue '{name}' in vhost '/'",
        lambda channel: Queue(name)(channel).queue_declare(passive=True),
    )
    expect(
        NotFound, 404, f"NOT_FOUND - no exchange '{name}' in vhost '/'",
        lambda channel: Queue(unique("q"), Exchange(name, no_declare=True), auto_delete=True)(
            channel
        ).declare(),
    )
    expect(
        PreconditionFailed, 406,
        "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': "
        "received 'direct' but current is 'topic'",
        # Exchanges called amq.* are never declared by kombu's own objects.
        lambda channel: channel.exchange_declare("amq.topic", "direct", durable=True),
    )
    expect(
        AccessRefused, 403,
        "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
        lambda channel: Queue("amq.mine")(channel).declare(),
    )

    def redeclare(channel):
        Queue(name, exclusive=True, message_ttl=1)(channel).declare()
        Queue(name, exclusive=True, message_ttl=2)(channel).declare()

    expect(
        PreconditionFailed, 406,
        f"PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue '{name}' in vhost '/': "
        "received '2000' but current is '1000'",
        redeclare,
    )
    with connect() as owner:
        queue = exclusive(owner.channel())
        expect(
            ResourceLocked, 405,
            f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue.name}' in "
            "vhost '/'. It could be originally declared on another connection or the exclusive "
            "property value does not match that of the original declaration.",
            lambda channel: Queue(queue.name)(channel).queue_declare(passive=True),
        )
    expect(
        PreconditionFailed, 406, "PRECONDITION_FAILED - unknown delivery tag 7",
        lambda channel: (channel.basic_ack(7), exclusive(channel)),
    )


def check_bad_login():
    try:
        with Connection(URL.replace("guest:guest", "guest:wrong")) as connection:
            connection.connect()
    except AccessRefused as error:
        assert error.reply_code == 403, error
        assert error.reply_text.startswith("ACCESS_REFUSED - Login was refused using"), error
    else:
        raise AssertionError("a wrong password was taken")


def check_heartbeats():
    with Connection(URL, heartbeat=1) as connection:
        channel = connection.channel()
        # What the application's event loop does twice a second, for longer than the broker waits
        # for a client that has fallen silent.
        for _ in range(8):
            connection.heartbeat_check(rate=2)
            try:
                connection.drain_events(timeout=0.5)
            except socket.timeout:
                pass
        exclusive(channel)


def check_a_producer_comes_back_after_a_restart():
    with connect(confirm_publish=True) as connection:
        queue = Queue(unique("kombu"))
        queue(connection.channel()).declare()
        producer = Producer(connection.channel())
        producer.publish("before", routing_key=queue.name)
        restart_broker()
        errors = []
        publish = connection.ensure(
            producer, producer.publish, errback=lambda error, _: errors.append(error),
            max_retries=10, interval_start=0.1,
        )
        publish("after", routing_key=queue.name)
        assert isinstance(errors[0], (ConnectionForced, OSError)), errors
        if isinstance(errors[0], ConnectionForced):
            assert errors[0].reply_code == 320, errors
        bound = queue(connection.default_channel)
        assert [bound.get(no_ack=True).payload for _ in range(2)] == ["before", "after"]
        bound.delete()


def check_a_consumer_comes_back_after_a_restart():
    class Worker(ConsumerMixin):
        def __init__(self, connection, queue):
            self.connection, self.queue = connection, queue
            self.arrived, self.lost = [], []
            self.ready, self.progress = threading.Event(), threading.Semaphore(0)

        def get_consumers(self, consumer, _channel):
            return [consumer([self.queue], on_message=self.on_message)]

        def on_consume_ready(self, *_arguments, **_options):
            self.ready.set()

        def on_connection_error(self, error, _interval):
            self.lost.append(error)

        def on_connection_revived(self):
            self.ready.clear()

        def on_message(self, message):
            self.arrived.append(message.payload)
            # The first delivery is left to the restart.
            if len(self.arrived) > 1:
                message.ack()
            self.progress.release()
            self.should_stop = message.payload == "last"

    with connect() as connection, connect() as publishing:
        queue = Queue(unique("kombu"))
        queue(publishing.channel()).declare()
        worker = Worker(connection, queue)
        thread = threading.Thread(target=worker.run, daemon=True)
        thread.start()
        Producer(publishing.channel()).publish("first", routing_key=queue.name)
        assert worker.progress.acquire(timeout=10)
        restart_broker()
        publishing.close()
        publishing.connect()
        Producer(publishing.channel()).publish("last", routing_key=queue.name)
        thread.join()
        assert worker.arrived == ["first", "first", "last"], worker.arrived
        queue(publishing.channel()).delete()


if __name__ == "__main__":
    run(sys.modules[__name__])

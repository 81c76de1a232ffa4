"""RPC, the asking half: have the server compute Fibonacci numbers.

    python rpc_client.py [NUMBER]...
"""

import os
import sys
import uuid

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")


class FibonacciClient:
    """Sends a request to `rpc_queue` and waits for the answer in a queue of its own."""

    def __init__(self, connection):
        self.channel = connection.channel()
        self.replies = self.channel.queue_declare("", exclusive=True).method.queue
        self.channel.basic_consume(self.replies, self.on_reply, auto_ack=True)
        self.awaited = None
        self.answer = None

    def on_reply(self, _channel, _method, properties, body):
        # A late answer to an earlier request carries another id: ignore it.
        if properties.correlation_id == self.awaited:
            self.answer = int(body)

    def call(self, n):
        self.awaited = str(uuid.uuid4())
        self.answer = None
        self.channel.basic_publish(
            exchange="",
            routing_key="rpc_queue",
            properties=pika.BasicProperties(
                reply_to=self.replies, correlation_id=self.awaited
            ),
            body=str(n),
        )
        while self.answer is None:
            self.channel.connection.process_data_events(time_limit=None)
        return self.answer


with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    # The server need not be up yet: requests wait for it.
    connection.channel().queue_declare("rpc_queue", durable=True)
    client = FibonacciClient(connection)
    for n in [int(arg) for arg in sys.argv[1:]] or [30]:
        print(f"fib({n}) = {client.call(n)}")

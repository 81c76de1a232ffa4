"""RPC, the answering half: compute Fibonacci numbers for whoever asks on `rpc_queue`.

    python rpc_server.py [--count N]
"""

import argparse
import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, help="stop after this many requests")
remaining = parser.parse_args().count


def fib(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


def on_request(channel, method, properties, body):
    global remaining
    n = int(body)
    answer = fib(n)
    print(f"fib({n}) = {answer}", flush=True)
    # The asker tells requests apart by the id, so it goes back unchanged.
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        properties=pika.BasicProperties(correlation_id=properties.correlation_id),
        body=str(answer),
    )
    channel.basic_ack(method.delivery_tag)
    if remaining is not None:
        remaining -= 1
        if remaining == 0:
            channel.stop_consuming()


with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.queue_declare("rpc_queue", durable=True)
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume("rpc_queue", on_request)
    print("waiting for requests, CTRL+C ends", flush=True)
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        pass

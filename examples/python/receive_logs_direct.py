"""Routing, the subscribing half: get the lines of the severities asked for.

    python receive_logs_direct.py [--count N] SEVERITY...
"""

import argparse
import os

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, help="stop after this many lines")
parser.add_argument("severity", nargs="+")
args = parser.parse_args()
remaining = args.count


def on_line(channel, method, _properties, body):
    global remaining
    print(f"received {method.routing_key}: {body.decode()!r}", flush=True)
    if remaining is not None:
        remaining -= 1
        if remaining == 0:
            channel.stop_consuming()


with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.exchange_declare("direct_logs", exchange_type="direct")
    queue = channel.queue_declare("", exclusive=True).method.queue
    for severity in args.severity:
        channel.queue_bind(queue, "direct_logs", routing_key=severity)
    channel.basic_consume(queue, on_line, auto_ack=True)
    print("waiting for logs, CTRL+C ends", flush=True)
    try:
        channel.start_consuming()
    except KeyboardInterrupt:
        pass

"""Publish/subscribe, the publishing half: send a line to everyone who listens now.

    python emit_log.py [TEXT]
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

text = " ".join(sys.argv[1:]) or "info: Hello World!"

with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.exchange_declare("logs", exchange_type="fanout")
    # A fanout exchange ignores the routing key.
    channel.basic_publish(exchange="logs", routing_key="", body=text)
    print(f"sent {text!r}")

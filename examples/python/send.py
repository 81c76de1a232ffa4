"""Hello world, the sending half: put one message into the queue `hello`.

    python send.py [TEXT]
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

text = " ".join(sys.argv[1:]) or "Hello World!"

with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.queue_declare("hello", durable=True)
    # The default exchange routes by queue name: nothing to declare or bind.
    channel.basic_publish(exchange="", routing_key="hello", body=text)
    print(f"sent {text!r}")

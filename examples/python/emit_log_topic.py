"""Topics, the publishing half: send a line under a key of words, such as `kern.critical`.

    python emit_log_topic.py [KEY [TEXT]]
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

key = sys.argv[1] if len(sys.argv) > 1 else "anonymous.info"
text = " ".join(sys.argv[2:]) or "Hello World!"

with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.exchange_declare("topic_logs", exchange_type="topic")
    channel.basic_publish(exchange="topic_logs", routing_key=key, body=text)
    print(f"sent {key}: {text!r}")

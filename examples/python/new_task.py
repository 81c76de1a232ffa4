"""Task queue, the giving half: put tasks that survive a broker restart into `task_queue`.

Each dot in a task stands for a second of work, shortened by the worker's --speed.

    python new_task.py [TASK]...
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2f")

tasks = sys.argv[1:] or ["sweep the floor...", "water the plants.", "bake bread...."]

with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
    channel = connection.channel()
    channel.queue_declare("task_queue", durable=True)
    # With confirms on, basic_publish returns once the broker has the task on disk.
    channel.confirm_delivery()
    for task in tasks:
        channel.basic_publish(
            exchange="",
            routing_key="task_queue",
            body=task,
            properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
        )
        print(f"queued {task!r}")

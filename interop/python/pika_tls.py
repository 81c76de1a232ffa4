"""TLS over pika's BlockingConnection, with a password and with a certificate."""

import os
import ssl
import sys
from pathlib import Path

import pika
from pika.credentials import ExternalCredentials

from checks import Skipped, run, unique


def connect(certified=False, credentials=None):
    if not (address := os.environ.get("AMQPS_ADDRESS")):
        raise Skipped("nobody said where TLS is spoken")
    host, _, port = address.rpartition(":")
    certificates = Path(os.environ["AMQPS_CERTIFICATES"])
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    if certified:
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    parameters = pika.ConnectionParameters(
        host,
        int(port),
        credentials=credentials or pika.PlainCredentials("guest", "guest"),
        ssl_options=pika.SSLOptions(context, "localhost"),
    )
    return pika.BlockingConnection(parameters)


def check_messages_go_through():
    with connect() as connection:
        channel = connection.channel()
        queue = channel.queue_declare(unique("tls"), exclusive=True).method.queue
        channel.confirm_delivery()
        bodies = [b"", b"small", os.urandom(1_000_000)]
        for body in bodies:
            channel.basic_publish("", queue, body, mandatory=True)
        got = [channel.basic_get(queue, auto_ack=True)[2] for _ in bodies]
        assert got == bodies


def check_a_certificate_is_a_login():
    with connect(certified=True, credentials=ExternalCredentials()) as connection:
        channel = connection.channel()
        queue = channel.queue_declare(unique("tls"), exclusive=True).method.queue
        # Only who it is may say so.
        named = pika.BasicProperties(user_id="interop")
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"mine", named, mandatory=True)
        assert channel.basic_get(queue, auto_ack=True)[1].user_id == "interop"


def check_without_a_certificate_there_is_no_login():
    try:
        connect(credentials=ExternalCredentials())
    except pika.exceptions.ProbableAuthenticationError as error:
        assert "(403)" in str(error) and "EXTERNAL" in str(error), error
    else:
        raise AssertionError("it was let in")


if __name__ == "__main__":
    run(sys.modules[__name__])

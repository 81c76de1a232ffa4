#!/bin/sh
# Starts the broker as the user rabbitmq, also where the container was started as root.
set -eu

if [ "$(id -u)" = 0 ]; then
    case "$1" in
    rabbitmq-server | leveret)
        # A volume that was mounted belongs to root.
        find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq '{}' +
        exec setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups "$@"
        ;;
    esac
fi
exec "$@"

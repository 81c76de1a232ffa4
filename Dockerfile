# syntax=docker/dockerfile:1
# A broker in the place of the image `rabbitmq`: the same ports, volume, files, environment variables
# and command names. See docs/container.md, also for what of this has been run. A plain release build, not
# packaging/build: that runs the broker under load and compiles twice, which is hours under emulation.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends make gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked && strip --strip-debug -o /leveret target/release/leveret

FROM debian:bookworm-slim
COPY --from=build /leveret /usr/local/bin/leveret
COPY packaging/docker/conf.d/ /etc/rabbitmq/conf.d/
COPY packaging/docker/setup packaging/docker/docker-entrypoint.sh /usr/local/bin/
RUN /usr/local/bin/setup && rm /usr/local/bin/setup

# RabbitMQ's files and variables are read, by the broker and by the commands.
ENV LEVERET_RABBITMQ=true RABBITMQ_DATA_DIR=/var/lib/rabbitmq HOME=/var/lib/rabbitmq LANG=C.UTF-8
VOLUME /var/lib/rabbitmq
EXPOSE 5671 5672 15671 15672 15691 15692
USER rabbitmq
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["rabbitmq-diagnostics", "-q", "check_running"]
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["rabbitmq-server"]

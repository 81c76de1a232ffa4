// How connections open, live and end.

const assert = require('node:assert/strict');
const { readFileSync } = require('node:fs');
const { join } = require('node:path');
const { once } = require('node:events');
const { setTimeout: delay } = require('node:timers/promises');

const { Inbox, Skipped, restartBroker, unique } = require('./checks');
const {
  NAME,
  URL,
  amqplib,
  closing,
  connect,
  consume,
  take,
  withConnection,
  withQueue,
} = require('./client');

const SHUTDOWN = closing(
  320,
  "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'",
);

const checks = {
  'tls, and a certificate as the login': async () => {
    const address = process.env.AMQPS_ADDRESS;
    if (!address) throw new Skipped('nobody said where TLS is spoken');
    const file = (name) => readFileSync(join(process.env.AMQPS_CERTIFICATES, name));
    const tls = { ca: [file('ca.pem')], servername: 'localhost' };
    const certified = { ...tls, cert: file('client.pem'), key: file('client.key') };
    const external = { ...certified, credentials: amqplib.credentials.external() };
    for (const [user, url, options] of [
      ['guest', `amqps://guest:guest@${address}`, tls],
      ['interop', `amqps://${address}`, external],
    ]) {
      const connection = await amqplib.connect(url, options);
      const channel = await connection.createChannel();
      const { queue } = await channel.assertQueue('', { exclusive: true });
      channel.sendToQueue(queue, Buffer.from('x'), { userId: user });
      assert.equal(await take(channel, queue), 'x');
      await connection.close();
    }
    const bare = { ...tls, credentials: amqplib.credentials.external() };
    await assert.rejects(amqplib.connect(`amqps://${address}`, bare), /ACCESS.REFUSED/);
  },

  'the broker introduces itself as clients expect': () =>
    withConnection(async ({ connection }) => {
      const { capabilities, product, version, ...texts } = connection.serverProperties;
      assert.equal(product, 'RabbitMQ');
      assert.match(version, /^[4-9]\.\d+\.\d+$/);
      for (const name of ['cluster_name', 'copyright', 'information', 'platform']) {
        assert.equal(typeof texts[name], 'string', name);
      }
      assert.deepEqual(capabilities, {
        publisher_confirms: true,
        exchange_exchange_bindings: true,
        'basic.nack': true,
        consumer_cancel_notify: true,
        'connection.blocked': true,
        consumer_priorities: true,
        authentication_failure_close: true,
        per_consumer_qos: true,
        direct_reply_to: true,
      });
    }),

  'what is negotiated is the smaller wish': async () => {
    const offered = NAME === 'amqplib' ? 131_072 : 4096;
    for (const [query, frameMax, channelMax, heartbeat] of [
      ['', offered, 2047, 60],
      ['?frameMax=8192&channelMax=10&heartbeat=5', 8192, 10, 5],
      ['?frameMax=0', 131_072, 2047, 60],
    ]) {
      await withConnection(async ({ connection }) => {
        assert.equal(connection.frameMax, frameMax);
        assert.equal(connection.channelMax, channelMax);
        assert.equal(connection.heartbeat, heartbeat);
      }, query);
    }
  },

  'heartbeats keep an idle connection': async () => {
    await withQueue(async ({ connection, channel, queue }) => {
      const ends = new Inbox();
      connection.on('error', ends.put);
      connection.on('close', ends.put);
      // Twice as long as the client waits for a sign of life, and longer than the broker does.
      await delay(4000);
      assert.equal(ends.size, 0);
      channel.sendToQueue(queue, Buffer.from('alive'));
      assert.equal(await take(channel, queue), 'alive');
    }, '?heartbeat=1');
  },

  'many channels, and their numbers again': () =>
    withConnection(async (connection) => {
      for (let round = 0; round < 2; round++) {
        const opening = [...Array(200)].map(() => connection.createChannel());
        const channels = await Promise.all(opening);
        await Promise.all(
          channels.map(async (channel) => {
            const { queue } = await channel.assertQueue('', { exclusive: true });
            channel.sendToQueue(queue, Buffer.from(queue));
            assert.equal(await take(channel, queue), queue);
            await channel.close();
          }),
        );
      }
    }),

  'a secret is updated': () =>
    withConnection(async (connection) => {
      await connection.updateSecret(Buffer.from('guest'), 'it was time');
      await (await connection.createChannel()).close();
    }),

  'logins that fail say why': async () => {
    const refused = 'Handshake terminated by server: ';
    await assert.rejects(connectTo(URL.replace('guest:guest', 'guest:wrong')), {
      message:
        refused +
        closing(
          403,
          'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. ' +
            'For details see the broker logfile.',
        ),
    });
    await assert.rejects(connectTo(URL.replace(/\/[^/]*$/, '/missing')), {
      message: /^Expected ConnectionOpenOk; got <ConnectionClose channel:0>$/,
    });
  },

  'errors that close the connection': async () => {
    for (const [code, text, operation] of [
      [
        530,
        "NOT_ALLOWED - attempt to reuse consumer tag 'me'",
        async (channel, queue) => {
          await channel.consume(queue, () => {}, { consumerTag: 'me' });
          channel.consume(queue, () => {}, { consumerTag: 'me' }).catch(() => {});
        },
      ],
      [
        540,
        "NOT_IMPLEMENTED - basic.get not supported by stream queues queue '%' in vhost '/'",
        async (channel) => {
          const queue = unique('stream');
          await channel.assertQueue(queue, { arguments: { 'x-queue-type': 'stream' } });
          channel.get(queue).catch(() => {});
          return queue;
        },
      ],
    ]) {
      const connection = await connect();
      const channel = await connection.createChannel();
      const { queue } = await channel.assertQueue('', { exclusive: true });
      const failed = once(connection, 'error');
      const closed = new Promise((resolve) => connection.on('close', resolve));
      const named = await operation(channel, queue);
      const [error] = await failed;
      const message = `Connection closed: ${closing(code, text.replace('%', named))}`;
      assert.equal(error.message, message);
      assert.equal(error.code, code);
      assert.equal((await closed).message, message);
      if (named) {
        await withConnection(async (other) => (await other.createChannel()).deleteQueue(named));
      }
    }
  },

  'a broker that stops is no error, and loses nothing durable': async () => {
    const connection = await connect();
    const channel = await connection.createConfirmChannel();
    const [name, exchange] = [unique('node'), unique('node')];
    await channel.assertExchange(exchange, 'topic');
    await channel.assertQueue(name);
    await channel.bindQueue(name, exchange, '#');
    channel.publish(exchange, 'a', Buffer.from('kept'), { persistent: true });
    await channel.waitForConfirms();
    channel.publish(exchange, 'a', Buffer.from('lost'), { persistent: false });
    const errors = new Inbox();
    connection.on('error', errors.put);
    const closed = new Promise((resolve) => connection.on('close', resolve));
    const channelClosed = once(channel, 'close');
    await restartBroker();
    const error = await closed;
    assert.equal(error.message, `Connection closed: ${SHUTDOWN}`);
    assert.equal(error.code, 320);
    await channelClosed;
    assert.equal(errors.size, 0);
    await withConnection(async (next) => {
      const again = await next.createChannel();
      await again.assertQueue(name);
      assert.equal(await take(again, name), 'kept');
      assert.equal(await again.get(name), false);
      await again.deleteQueue(name);
      await again.deleteExchange(exchange);
    });
  },

  'a broker low on memory blocks who publishes, and says so': async () => {
    await restartBroker('ALARMS_VM_MEMORY_HIGH_WATERMARK=0');
    try {
      const connection = await connect();
      const channel = await connection.createChannel();
      const { queue } = await channel.assertQueue('', { exclusive: true });
      const blocked = once(connection, 'blocked');
      channel.sendToQueue(queue, Buffer.from('held'));
      assert.deepEqual(await blocked, ['low on memory']);
      // Others go on.
      await withQueue(async (other) => assert.equal(await other.channel.get(other.queue), false));
      const closed = new Promise((resolve) => connection.on('close', resolve));
      await restartBroker();
      assert.equal((await closed).code, 320);
    } finally {
      await restartBroker();
    }
  },
};

const recovery = {
  'recovery after a forced close': async () => {
    const [exchange, queue] = [unique('node'), unique('node')];
    const deliveries = new Inbox();
    const connection = await connect('', {
      recovery: {
        initialDelay: 50,
        maxDelay: 500,
        setup: async (model) => {
          const channel = await model.createChannel();
          await channel.assertExchange(exchange, 'fanout', { autoDelete: true });
          await channel.assertQueue(queue, { exclusive: true });
          await channel.bindQueue(queue, exchange, '');
          await channel.consume(queue, deliveries.put, { noAck: true });
        },
      },
    });
    const events = new Inbox();
    connection.on('disconnect', (error) => events.put(error.message));
    connection.on('connect', () => events.put('connected'));
    for (const body of ['before', 'after']) {
      const channel = await connection.createConfirmChannel();
      channel.publish(exchange, '', Buffer.from(body));
      await channel.waitForConfirms();
      assert.equal((await deliveries.next()).content.toString(), body);
      if (body === 'before') {
        await restartBroker();
        assert.equal(await events.next(), `Connection closed: ${SHUTDOWN}`);
        assert.equal(await events.next(), 'connected');
      }
    }
    await connection.close();
  },
};

function connectTo(url) {
  return require(NAME).connect(url);
}

module.exports = NAME === 'amqplib' ? { ...checks, ...recovery } : checks;

// Queues, exchanges and bindings, and the errors of their declarations.

const assert = require('node:assert/strict');

const { consume, isEmpty, refuses, take, unique, withConnection, withQueue } = require('./client');

module.exports = {
  'a queue is found as it was declared': () =>
    withConnection(async (connection) => {
      const channel = await connection.createConfirmChannel();
      const name = unique('node');
      const declared = { queue: name, messageCount: 0, consumerCount: 0 };
      assert.deepEqual({ ...(await channel.assertQueue(name)) }, declared);
      channel.sendToQueue(name, Buffer.from('x'));
      await channel.waitForConfirms();
      assert.deepEqual({ ...(await channel.assertQueue(name)) }, { ...declared, messageCount: 1 });
      assert.deepEqual({ ...(await channel.purgeQueue(name)) }, { messageCount: 1 });
      await consume(channel, name);
      assert.deepEqual({ ...(await channel.checkQueue(name)) }, { ...declared, consumerCount: 1 });
      assert.deepEqual({ ...(await channel.deleteQueue(name)) }, { messageCount: 0 });
      // What is gone already is no error.
      assert.deepEqual({ ...(await channel.deleteQueue(name)) }, { messageCount: 0 });
    }),

  'arguments equal in value are equal in any width': () =>
    withQueue(async ({ channel }) => {
      const name = unique('node');
      const options = { exclusive: true, messageTtl: 60_000, maxLength: 100, maxPriority: 9 };
      await channel.assertQueue(name, options);
      const wide = (value) => ({ '!': 'int64', value });
      await channel.assertQueue(name, {
        exclusive: true,
        arguments: {
          'x-message-ttl': wide(60_000),
          'x-max-length': wide(100),
          'x-max-priority': wide(9),
        },
      });
    }),

  'server-named queues': () =>
    withConnection(async (connection) => {
      const channel = await connection.createChannel();
      const names = new Set();
      for (let number = 0; number < 3; number++) {
        const { queue } = await channel.assertQueue('', { exclusive: true });
        assert.match(queue, /^amq\.gen-[\w-]{22}$/);
        names.add(queue);
      }
      assert.equal(names.size, 3);
    }),

  "exclusive queues are their connection's, and go with it": () =>
    withConnection(async (other) => {
      const name = unique('node');
      await withConnection(async (owner) => {
        await (await owner.createChannel()).assertQueue(name, { exclusive: true });
        const text =
          `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${name}' in vhost ` +
          "'/'. It could be originally declared on another connection or the exclusive property " +
          'value does not match that of the original declaration.';
        const refused = (method, operation) => refuses(other, method, 405, text, operation);
        await refused('QueueDeclare', (channel) => channel.checkQueue(name));
        await refused('QueueDeclare', (channel) => channel.assertQueue(name));
        await refused('BasicConsume', (channel) => channel.consume(name, () => {}));
        await refused('BasicGet', (channel) => channel.get(name));
        await refused('QueueBind', (channel) => channel.bindQueue(name, 'amq.fanout', ''));
        await refused('QueueDelete', (channel) => channel.deleteQueue(name));
      });
      // Gone by the time the owner's close is answered.
      await isMissing(other, name);
    }),

  'auto-delete queues go with their last consumer': () =>
    withConnection(async (connection) => {
      const channel = await connection.createChannel();
      const name = unique('node');
      await channel.assertQueue(name, { autoDelete: true });
      const first = await consume(channel, name);
      const second = await consume(channel, name);
      await channel.cancel(first.tag);
      assert.equal((await channel.checkQueue(name)).consumerCount, 1);
      await channel.cancel(second.tag);
      await isMissing(connection, name);
    }),

  'exchanges of every type': () =>
    withQueue(async ({ channel, queue }) => {
      for (const [type, binding, args, key, headers] of [
        ['direct', 'k', {}, 'k', {}],
        ['fanout', '', {}, 'any', {}],
        ['topic', 'a.#.*', {}, 'a.b.c', {}],
        // The same number, of another type.
        ['headers', '', { 'x-match': 'all', a: 1 }, '', { a: { '!': 'int64', value: 1 } }],
        ['x-consistent-hash', '1', {}, 'any', {}],
      ]) {
        const exchange = unique(type);
        assert.deepEqual(await channel.assertExchange(exchange, type), { exchange });
        await channel.checkExchange(exchange);
        await channel.bindQueue(queue, exchange, binding, args);
        channel.publish(exchange, key, Buffer.from(type), { headers });
        const message = await channel.get(queue, { noAck: true });
        assert.equal(message.content.toString(), type);
        assert.equal(message.fields.exchange, exchange);
        assert.equal(message.fields.routingKey, key);
        await channel.unbindQueue(queue, exchange, binding, args);
        // Once more is no error.
        await channel.unbindQueue(queue, exchange, binding, args);
        channel.publish(exchange, key, Buffer.from('lost'), { headers });
        await isEmpty(channel, queue);
        await channel.deleteExchange(exchange, { ifUnused: true });
        await channel.deleteExchange(exchange);
      }
    }),

  'exchange to exchange, internal and alternate': () =>
    withQueue(async ({ connection, channel, queue }) => {
      const [source, target] = [unique('source'), unique('target')];
      const transient = { durable: false, autoDelete: true };
      await channel.assertExchange(target, 'fanout', { ...transient, internal: true });
      await channel.assertExchange(source, 'topic', { ...transient, alternateExchange: target });
      await channel.bindQueue(queue, target, '');
      await channel.bindExchange(target, source, 'a.*');
      for (const key of ['a.b', 'no.route.but.the.alternate']) {
        channel.publish(source, key, Buffer.from(key), { mandatory: true });
        assert.equal(await take(channel, queue), key);
      }
      await channel.unbindExchange(target, source, 'a.*');
      // The last binding it was the source of took it away.
      await refuses(
        connection,
        'ExchangeDeclare',
        404,
        `NOT_FOUND - no exchange '${source}' in vhost '/'`,
        (other) => other.checkExchange(source),
      );
    }),

  'refused declarations, bindings and deletions': () =>
    withConnection(async (connection) => {
      const missing = unique('missing');
      const found = unique('node');
      const channel = await connection.createChannel();
      await channel.assertQueue(found, { exclusive: true, messageTtl: 1000 });
      await channel.bindQueue(found, 'amq.direct', 'k');
      await consume(channel, found);
      const noQueue = `NOT_FOUND - no queue '${missing}' in vhost '/'`;
      const noExchange = `NOT_FOUND - no exchange '${missing}' in vhost '/'`;
      const inequivalent = (argument, kind, name, difference) =>
        `PRECONDITION_FAILED - inequivalent arg '${argument}' for ${kind} '${name}' in vhost '/': ` +
        difference;
      for (const refusal of [
        ['QueueDeclare', 404, noQueue, (ch) => ch.checkQueue(missing)],
        ['QueuePurge', 404, noQueue, (ch) => ch.purgeQueue(missing)],
        ['BasicGet', 404, noQueue, (ch) => ch.get(missing)],
        ['BasicConsume', 404, noQueue, (ch) => ch.consume(missing, () => {})],
        ['QueueBind', 404, noQueue, (ch) => ch.bindQueue(missing, 'amq.direct', '')],
        ['QueueBind', 404, noExchange, (ch) => ch.bindQueue(found, missing, '')],
        ['ExchangeBind', 404, noExchange, (ch) => ch.bindExchange('amq.direct', missing, '')],
        ['ExchangeDeclare', 404, noExchange, (ch) => ch.checkExchange(missing)],
        [
          'QueueDeclare',
          403,
          "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
          (ch) => ch.assertQueue('amq.mine'),
        ],
        [
          'ExchangeDeclare',
          403,
          "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
          (ch) => ch.assertExchange('amq.mine', 'direct'),
        ],
        [
          'ExchangeDeclare',
          406,
          "PRECONDITION_FAILED - invalid exchange type 'odd'",
          (ch) => ch.assertExchange(missing, 'odd'),
        ],
        [
          'ExchangeDeclare',
          406,
          inequivalent('type', 'exchange', 'amq.topic', "received 'fanout' but current is 'topic'"),
          (ch) => ch.assertExchange('amq.topic', 'fanout'),
        ],
        [
          'QueueDeclare',
          406,
          inequivalent('auto_delete', 'queue', found, "received 'true' but current is 'false'"),
          (ch) => ch.assertQueue(found, { exclusive: true, autoDelete: true, messageTtl: 1000 }),
        ],
        [
          'QueueDeclare',
          406,
          inequivalent('x-message-ttl', 'queue', found, "received '5' but current is '1000'"),
          (ch) => ch.assertQueue(found, { exclusive: true, messageTtl: 5 }),
        ],
        [
          'QueueDeclare',
          406,
          inequivalent(
            'x-message-ttl',
            'queue',
            found,
            "received none but current is the value '1000' of type 'short'",
          ),
          (ch) => ch.assertQueue(found, { exclusive: true }),
        ],
        [
          'QueueDelete',
          406,
          `PRECONDITION_FAILED - queue '${found}' in vhost '/' in use`,
          (ch) => ch.deleteQueue(found, { ifUnused: true }),
        ],
        [
          'ExchangeDelete',
          403,
          "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
          (ch) => ch.deleteExchange('amq.direct'),
        ],
        [
          'BasicConsume',
          403,
          `ACCESS_REFUSED - queue '${found}' in vhost '/' in exclusive use`,
          (ch) => ch.consume(found, () => {}, { exclusive: true }),
        ],
      ]) {
        await refuses(connection, ...refusal);
      }
    }),

  'a queue that is not empty is not deleted if it must be': () =>
    withQueue(async ({ connection, channel, queue }) => {
      channel.sendToQueue(queue, Buffer.from('x'));
      await refuses(
        connection,
        'QueueDelete',
        406,
        `PRECONDITION_FAILED - queue '${queue}' in vhost '/' not empty`,
        (other) => other.deleteQueue(queue, { ifEmpty: true }),
      );
      await channel.purgeQueue(queue);
      await channel.deleteQueue(queue, { ifEmpty: true });
    }),
};

function isMissing(connection, queue) {
  const text = `NOT_FOUND - no queue '${queue}' in vhost '/'`;
  return refuses(connection, 'QueueDeclare', 404, text, (channel) => channel.checkQueue(queue));
}

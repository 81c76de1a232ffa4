// Publishing, getting, consuming and settling.

const assert = require('node:assert/strict');

const { Inbox, unique } = require('./checks');
const { closing, consume, isEmpty, take, withConnection, withQueue } = require('./client');

const typed = (type, value) => ({ '!': type, value });

module.exports = {
  'properties and headers of every type round trip': () =>
    withQueue(async ({ channel, queue }) => {
      const headers = {
        text: 'ü',
        empty: '',
        bytes: Buffer.from([0, 255]),
        bool: true,
        no: false,
        void: null,
        int8: typed('int8', -8),
        uint8: typed('unsignedbyte', 200),
        int16: typed('int16', -1600),
        uint16: typed('unsignedshort', 65_535),
        int32: typed('int32', -320_000),
        uint32: typed('unsignedint', 4_294_967_295),
        int64: typed('int64', -(2 ** 52)),
        float: typed('float', 0.5),
        double: 0.1,
        decimal: typed('decimal', { places: 2, digits: 12_345 }),
        time: typed('timestamp', 1_700_000_000),
        list: [1, 'two', { three: 3 }, []],
        table: { deep: { deeper: 'yes' } },
      };
      const sent = {
        contentType: 'text/plain',
        contentEncoding: 'utf-8',
        headers,
        deliveryMode: 2,
        priority: 5,
        correlationId: 'correlation',
        replyTo: 'reply',
        expiration: '60000',
        messageId: 'message',
        timestamp: 1_700_000_000,
        type: 'type',
        userId: 'guest',
        appId: 'app',
      };
      channel.sendToQueue(queue, Buffer.from('body'), sent);
      const { content, fields, properties } = await channel.get(queue, { noAck: true });
      assert.equal(content.toString(), 'body');
      assert.deepEqual(
        { ...fields },
        { deliveryTag: 1, redelivered: false, exchange: '', routingKey: queue, messageCount: 0 },
      );
      // The library gives numbers without their type, but these with it.
      const kept = new Set(['decimal', 'timestamp']);
      const expected = Object.entries(headers).map(([name, value]) => [
        name,
        value?.['!'] && !kept.has(value['!']) ? value.value : value,
      ]);
      assert.deepEqual(properties.headers, Object.fromEntries(expected));
      assert.deepEqual(
        { ...properties },
        { ...sent, headers: properties.headers, clusterId: undefined },
      );
    }),

  'bodies of all sizes, in as many frames as they need': () =>
    withQueue(async ({ connection, channel, queue }) => {
      const whole = connection.connection.frameMax - 8;
      for (const size of [0, 1, whole - 1, whole, whole + 1, 2 * whole, 3_000_000]) {
        const body = Buffer.alloc(size, 'abcdefg');
        channel.sendToQueue(queue, body);
        const { content } = await channel.get(queue, { noAck: true });
        assert.ok(content.equals(body), `${size} bytes came back as ${content.length}`);
      }
    }),

  'large messages on many channels at once': () =>
    withQueue(async ({ connection, channel, queue }) => {
      const deliveries = await consume(channel, queue, { noAck: true });
      const bodies = [];
      for (let number = 0; number < 10; number++) {
        const publisher = await connection.createChannel();
        bodies.push(Buffer.alloc(100_000 + number, String(number)));
        publisher.sendToQueue(queue, bodies[number]);
      }
      const found = [];
      for (const _ of bodies) found.push((await deliveries.next()).content);
      assert.deepEqual(found.sort(Buffer.compare), bodies);
    }),

  'confirms come for all': () =>
    withConnection(async (connection) => {
      const channel = await connection.createConfirmChannel();
      const name = unique('node');
      await channel.assertQueue(name);
      const confirmed = [];
      for (let number = 0; number < 1000; number++) {
        channel.sendToQueue(name, Buffer.from('x'), { persistent: true }, (error) => {
          assert.equal(error, null);
          confirmed.push(number);
        });
      }
      await channel.waitForConfirms();
      assert.deepEqual(confirmed, [...Array(1000).keys()]);
      assert.deepEqual({ ...(await channel.deleteQueue(name)) }, { messageCount: 1000 });
    }),

  'a full queue nacks': () =>
    withConnection(async (connection) => {
      const channel = await connection.createConfirmChannel();
      const options = { exclusive: true, maxLength: 1, overflow: 'reject-publish' };
      const { queue } = await channel.assertQueue('', options);
      const outcomes = new Inbox();
      for (const body of ['kept', 'refused', 'refused too']) {
        channel.sendToQueue(queue, Buffer.from(body), {}, (error) => outcomes.put(error?.message));
      }
      assert.equal(await outcomes.next(), undefined);
      assert.equal(await outcomes.next(), 'message nacked');
      assert.equal(await outcomes.next(), 'message nacked');
      assert.equal(await take(channel, queue), 'kept');
      await isEmpty(channel, queue);
    }),

  'unroutable messages return before their confirm': () =>
    withConnection(async (connection) => {
      const channel = await connection.createConfirmChannel();
      const events = new Inbox();
      const key = unique('nowhere');
      channel.on('return', events.put);
      const options = { mandatory: true, headers: { kept: 'yes' }, messageId: 'one' };
      channel.publish('amq.direct', key, Buffer.from('lost'), options, events.put);
      const { content, fields, properties } = await events.next();
      assert.deepEqual(
        { ...fields },
        { replyCode: 312, replyText: 'NO_ROUTE', exchange: 'amq.direct', routingKey: key },
      );
      assert.equal(content.toString(), 'lost');
      assert.deepEqual(properties.headers, { kept: 'yes' });
      assert.equal(properties.messageId, 'one');
      assert.equal(await events.next(), null);
      // Not mandatory: taken and dropped.
      channel.publish('amq.direct', key, Buffer.from('dropped'), {}, events.put);
      assert.equal(await events.next(), null);
    }),

  'CC and BCC are more keys, and BCC is secret': () =>
    withQueue(async ({ channel, queue }) => {
      const copy = (await channel.assertQueue('', { exclusive: true })).queue;
      const secret = (await channel.assertQueue('', { exclusive: true })).queue;
      channel.sendToQueue(queue, Buffer.from('to three'), { CC: copy, BCC: [secret] });
      for (const name of [queue, copy, secret]) {
        const { fields, properties } = await channel.get(name, { noAck: true });
        assert.equal(fields.routingKey, queue);
        assert.deepEqual(properties.headers, { CC: [copy] });
      }
    }),

  'get counts what is left': () =>
    withQueue(async ({ channel, queue }) => {
      for (const body of ['a', 'b', 'c']) channel.sendToQueue(queue, Buffer.from(body));
      for (const [body, left] of [
        ['a', 2],
        ['b', 1],
        ['c', 0],
      ]) {
        const message = await channel.get(queue);
        assert.equal(message.content.toString(), body);
        assert.equal(message.fields.messageCount, left);
        channel.ack(message);
      }
      assert.equal(await channel.get(queue), false);
    }),

  'consumers get in order what their prefetch allows': () =>
    withQueue(async ({ connection, channel, queue }) => {
      for (let number = 0; number < 20; number++) {
        channel.sendToQueue(queue, Buffer.from(String(number)));
      }
      const consumer = await connection.createChannel();
      await consumer.prefetch(5);
      const deliveries = await consume(consumer, queue, { consumerTag: 'me' });
      assert.equal(deliveries.tag, 'me');
      for (let number = 0; number < 20; number++) {
        const message = await deliveries.next();
        assert.equal(message.content.toString(), String(number));
        assert.equal(message.fields.deliveryTag, number + 1);
        assert.equal(message.fields.consumerTag, 'me');
        // Every fifth settles the five: only then is there more.
        if (number % 5 === 4) {
          const { messageCount, consumerCount } = await channel.checkQueue(queue);
          assert.deepEqual([messageCount, consumerCount], [15 - number + 4, 1]);
          assert.equal(deliveries.size, 0);
          consumer.ack(message, true);
        }
      }
      await consumer.cancel('me');
      assert.equal((await channel.checkQueue(queue)).consumerCount, 0);
    }),

  'the broker names a consumer that has no name': () =>
    withQueue(async ({ channel, queue }) => {
      const deliveries = await consume(channel, queue);
      assert.match(deliveries.tag, /^amq\.ctag-[\w-]{22}$/);
      await channel.cancel('no such');
    }),

  'a cancelled consumer keeps what it has': () =>
    withQueue(async ({ channel, queue }) => {
      channel.sendToQueue(queue, Buffer.from('held'));
      const deliveries = await consume(channel, queue);
      const held = await deliveries.next();
      await channel.cancel(deliveries.tag);
      channel.sendToQueue(queue, Buffer.from('next'));
      assert.equal(await take(channel, queue), 'next');
      channel.nack(held);
      assert.equal(await take(channel, queue), 'held');
    }),

  'nack, reject and recover': () =>
    withQueue(async ({ channel, queue }) => {
      channel.sendToQueue(queue, Buffer.from('x'));
      const deliveries = await consume(channel, queue);
      const returns = [
        (message) => channel.nack(message),
        (message) => channel.reject(message, true),
        () => channel.nackAll(),
        () => channel.recover(),
      ];
      for (const [turn, giveBack] of returns.entries()) {
        const message = await deliveries.next();
        assert.equal(message.fields.redelivered, turn > 0);
        assert.equal(message.fields.deliveryTag, turn + 1);
        await giveBack(message);
      }
      channel.reject(await deliveries.next(), false);
      channel.sendToQueue(queue, Buffer.from('y'));
      channel.ack(await deliveries.next());
      channel.ackAll();
      await channel.cancel(deliveries.tag);
      await isEmpty(channel, queue);
    }),

  'what a channel held goes back in order when it closes': () =>
    withQueue(async ({ connection, channel, queue }) => {
      for (const body of ['a', 'b', 'c']) channel.sendToQueue(queue, Buffer.from(body));
      const other = await connection.createChannel();
      for (let number = 0; number < 2; number++) await other.get(queue);
      await other.close();
      for (const [body, redelivered] of [
        ['a', true],
        ['b', true],
        ['c', false],
      ]) {
        const message = await channel.get(queue, { noAck: true });
        assert.equal(message.content.toString(), body);
        assert.equal(message.fields.redelivered, redelivered);
      }
    }),

  'the consumer with the higher priority is served first': () =>
    withQueue(async ({ channel, queue }) => {
      const low = await consume(channel, queue, { noAck: true });
      const high = await consume(channel, queue, { noAck: true, priority: 10 });
      for (let number = 0; number < 5; number++) channel.sendToQueue(queue, Buffer.from('x'));
      for (let number = 0; number < 5; number++) await high.next();
      await channel.checkQueue(queue);
      assert.equal(low.size, 0);
    }),

  'rpc over direct reply-to': () =>
    withQueue(async ({ connection, channel: server, queue: requests }) => {
      await server.consume(requests, (request) => {
        const { correlationId, replyTo } = request.properties;
        const answer = request.content.toString().toUpperCase();
        server.sendToQueue(replyTo, Buffer.from(answer), { correlationId });
        server.ack(request);
      });
      const client = await connection.createChannel();
      const replyTo = 'amq.rabbitmq.reply-to';
      const answers = await consume(client, replyTo, { noAck: true });
      for (let number = 0; number < 10; number++) {
        const options = { replyTo, correlationId: String(number) };
        client.sendToQueue(requests, Buffer.from(`request ${number}`), options);
        const answer = await answers.next();
        assert.equal(answer.content.toString(), `REQUEST ${number}`);
        assert.equal(answer.properties.correlationId, String(number));
        assert.match(answer.fields.routingKey, /^amq\.rabbitmq\.reply-to\../);
      }
    }),

  'a deleted queue cancels its consumer': () =>
    withConnection(async (connection) => {
      const channel = await connection.createChannel();
      const name = unique('node');
      await channel.assertQueue(name);
      const deliveries = await consume(channel, name);
      await (await connection.createChannel()).deleteQueue(name);
      assert.equal(await deliveries.next(), null);
      await channel.close();
    }),

  'errors that no call waits for close the channel': () =>
    withConnection(async (connection) => {
      const missing = unique('missing');
      for (const [code, text, operation] of [
        [
          404,
          `NOT_FOUND - no exchange '${missing}' in vhost '/'`,
          (channel) => channel.publish(missing, '', Buffer.from('lost')),
        ],
        [
          406,
          'PRECONDITION_FAILED - unknown delivery tag 7',
          (channel) => channel.ack({ fields: { deliveryTag: 7 } }),
        ],
        [
          406,
          "PRECONDITION_FAILED - invalid expiration 'soon': no_integer",
          (channel) => channel.sendToQueue('q', Buffer.from('x'), { expiration: 'soon' }),
        ],
        [
          406,
          "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'",
          (channel) => channel.sendToQueue('q', Buffer.from('x'), { userId: 'other' }),
        ],
        [
          406,
          'PRECONDITION_FAILED - fast reply consumer does not exist',
          (channel) =>
            channel.sendToQueue('q', Buffer.from('x'), { replyTo: 'amq.rabbitmq.reply-to' }),
        ],
      ]) {
        const channel = await connection.createChannel();
        const events = new Inbox();
        channel.on('error', events.put);
        channel.on('close', () => events.put('closed'));
        operation(channel);
        // What follows before the client has heard of it is dropped, and breaks nothing.
        for (let number = 0; number < 10; number++) channel.sendToQueue('q', Buffer.alloc(10_000));
        const error = await events.next();
        assert.equal(error.message, `Channel closed by server: ${closing(code, text)}`);
        assert.equal(error.code, code);
        assert.equal(await events.next(), 'closed');
      }
      await (await connection.createChannel()).close();
    }),
};

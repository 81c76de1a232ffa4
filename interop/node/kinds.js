// What the kinds of queue do with a message: dead letters, priorities, quorum queues and streams.

const assert = require('node:assert/strict');

const { consume, refuses, take, unique, withConnection, withQueue } = require('./client');

module.exports = {
  'dead letters tell where they died': () =>
    withQueue(async ({ channel, queue: grave }) => {
      const options = { exclusive: true, deadLetterExchange: '', deadLetterRoutingKey: grave };
      const { queue } = await channel.assertQueue('', options);
      channel.sendToQueue(queue, Buffer.from('x'), { headers: { kept: 1 } });
      channel.nack(await channel.get(queue), false, false);
      const deliveries = await consume(channel, grave, { noAck: true });
      const { fields, properties } = await deliveries.next();
      assert.equal(fields.redelivered, true);
      const {
        'x-death': [death, ...others],
        ...headers
      } = properties.headers;
      assert.deepEqual(others, []);
      assert.equal(death.time['!'], 'timestamp');
      delete death.time;
      assert.deepEqual(death, {
        count: 1,
        reason: 'rejected',
        queue,
        exchange: '',
        'routing-keys': [queue],
      });
      assert.deepEqual(headers, {
        kept: 1,
        'x-first-death-queue': queue,
        'x-first-death-reason': 'rejected',
        'x-first-death-exchange': '',
        'x-last-death-queue': queue,
        'x-last-death-reason': 'rejected',
        'x-last-death-exchange': '',
      });
    }),

  'messages expire into the dead letters, one by one': () =>
    withQueue(async ({ channel, queue: grave }) => {
      const deliveries = await consume(channel, grave, { noAck: true });
      const options = { exclusive: true, deadLetterExchange: '', deadLetterRoutingKey: grave };
      const { queue } = await channel.assertQueue('', options);
      for (const body of ['a', 'b', 'c']) {
        channel.sendToQueue(queue, Buffer.from(body), { expiration: 1 });
      }
      for (const body of ['a', 'b', 'c']) {
        const { content, properties } = await deliveries.next();
        assert.equal(content.toString(), body);
        assert.equal(properties.expiration, undefined);
        assert.equal(properties.headers['x-death'][0].reason, 'expired');
        assert.equal(properties.headers['x-death'][0]['original-expiration'], '1');
      }
    }),

  'priorities go first': () =>
    withQueue(async ({ channel }) => {
      const { queue } = await channel.assertQueue('', { exclusive: true, maxPriority: 9 });
      for (const priority of [1, 9, 5, 9, 0]) {
        channel.sendToQueue(queue, Buffer.from(String(priority)), { priority });
      }
      for (const expected of ['9', '9', '5', '1', '0']) {
        assert.equal(await take(channel, queue), expected);
      }
    }),

  'a quorum queue counts deliveries up to its limit': () =>
    withConnection(async (connection) => {
      const channel = await connection.createConfirmChannel();
      const [name, grave] = [unique('quorum'), unique('grave')];
      await channel.assertQueue(grave, { exclusive: true });
      const options = { deadLetterExchange: '', deadLetterRoutingKey: grave };
      await channel.assertQueue(name, {
        ...options,
        arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 2 },
      });
      channel.sendToQueue(name, Buffer.from('poison'));
      await channel.waitForConfirms();
      const deliveries = await consume(channel, name);
      for (const count of [undefined, 1, 2]) {
        const message = await deliveries.next();
        assert.equal(message.properties.headers['x-delivery-count'], count);
        assert.equal(message.fields.redelivered, count !== undefined);
        channel.nack(message);
      }
      const dead = await (await consume(channel, grave, { noAck: true })).next();
      assert.equal(dead.properties.headers['x-death'][0].reason, 'delivery_limit');
      assert.equal(deliveries.size, 0);
      await refuses(
        connection,
        'QueueDeclare',
        406,
        `PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '${name}' in vhost '/': ` +
          "received 'classic' but current is 'quorum'",
        (other) =>
          other.assertQueue(name, { ...options, arguments: { 'x-queue-type': 'classic' } }),
      );
      await channel.deleteQueue(name);
    }),

  'a stream is read from any offset, again and again': () =>
    withConnection(async (connection) => {
      const channel = await connection.createConfirmChannel();
      const name = unique('stream');
      await channel.assertQueue(name, { arguments: { 'x-queue-type': 'stream' } });
      for (let number = 0; number < 50; number++) {
        channel.sendToQueue(name, Buffer.from(String(number)));
      }
      await channel.waitForConfirms();
      for (const [offset, first] of [
        ['first', 0],
        [40, 40],
        [45, 45],
        ['next', 50],
      ]) {
        const reader = await connection.createConfirmChannel();
        await reader.prefetch(10);
        const args = { 'x-stream-offset': offset };
        const deliveries = await consume(reader, name, { arguments: args });
        if (offset === 'next') reader.sendToQueue(name, Buffer.from('50'));
        for (let expected = first; expected <= (offset === 'next' ? 50 : 49); expected++) {
          const message = await deliveries.next();
          assert.equal(message.content.toString(), String(expected));
          assert.equal(message.properties.headers['x-stream-offset'], expected);
          assert.equal(message.fields.redelivered, false);
          reader.ack(message);
        }
        await reader.close();
      }
      await refuses(
        connection,
        'BasicConsume',
        406,
        `PRECONDITION_FAILED - consumer prefetch count is not set for stream queue '${name}' ` +
          "in vhost '/'",
        (other) => other.consume(name, () => {}),
      );
      await channel.deleteQueue(name);
    }),
};

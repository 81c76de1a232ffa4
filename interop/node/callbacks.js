// amqplib's callbacks against a broker: the same machine as its promises, told in another way.

const assert = require('node:assert/strict');
const amqplib = require('amqplib/callback_api');

const { Inbox, run, soon, unique } = require('./checks');

const URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/%2f';

// Opens a connection and a channel, has `check` use them, and closes both once it calls `done`.
function withChannel(check) {
  return () =>
    new Promise((resolve, reject) => {
      // What a callback throws would end the program.
      const guarded =
        (work) =>
        (...values) => {
          try {
            work(...values);
          } catch (error) {
            reject(error);
          }
        };
      const expect = (work = () => {}) =>
        guarded((error, value) => {
          assert.ifError(error);
          work(value);
        });
      amqplib.connect(
        URL,
        expect((connection) => {
          const done = () => connection.close(expect(resolve));
          connection.createConfirmChannel(
            expect((channel) => check({ channel, connection, done, expect, guarded })),
          );
        }),
      );
    });
}

run({
  'publish, confirm, get and acknowledge': withChannel(({ channel, done, expect }) => {
    channel.assertQueue(
      '',
      { exclusive: true },
      expect(({ queue, messageCount, consumerCount }) => {
        assert.match(queue, /^amq\.gen-/);
        assert.deepEqual([messageCount, consumerCount], [0, 0]);
        channel.sendToQueue(queue, Buffer.from('x'), { type: 'letter' });
        channel.waitForConfirms(
          expect(() =>
            channel.get(
              queue,
              {},
              expect((message) => {
                assert.equal(message.content.toString(), 'x');
                assert.equal(message.properties.type, 'letter');
                channel.ack(message);
                channel.get(
                  queue,
                  {},
                  expect((nothing) => {
                    assert.equal(nothing, false);
                    done();
                  }),
                );
              }),
            ),
          ),
        );
      }),
    );
  }),

  'consume with prefetch, reject and cancel': withChannel(({ channel, done, expect, guarded }) => {
    const seen = [];
    channel.prefetch(1);
    channel.assertQueue(
      '',
      { exclusive: true },
      expect(({ queue }) => {
        const onMessage = guarded((message) => {
          seen.push([message.content.toString(), message.fields.redelivered]);
          if (seen.length === 1) channel.reject(message, true);
          else channel.ack(message);
          if (seen.length < 4) return;
          assert.deepEqual(seen, [
            ['a', false],
            ['a', true],
            ['b', false],
            ['c', false],
          ]);
          channel.cancel(
            'me',
            expect((ok) => {
              assert.equal(ok.consumerTag, 'me');
              channel.checkQueue(
                queue,
                expect(({ messageCount, consumerCount }) => {
                  assert.deepEqual([messageCount, consumerCount], [0, 0]);
                  done();
                }),
              );
            }),
          );
        });
        channel.consume(queue, onMessage, { consumerTag: 'me' }, expect());
        for (const body of ['a', 'b', 'c']) channel.sendToQueue(queue, Buffer.from(body));
      }),
    );
  }),

  'bindings, and returns before confirms': withChannel(({ channel, done, expect }) => {
    const [exchange, events] = [unique('node'), []];
    channel.on('return', ({ fields }) => events.push(fields.replyText));
    channel.assertExchange(exchange, 'direct', { autoDelete: true }, expect());
    channel.assertQueue(
      '',
      { exclusive: true },
      expect(({ queue }) => {
        channel.bindQueue(queue, exchange, 'k', {}, expect());
        const publish = (key) =>
          channel.publish(exchange, key, Buffer.from(key), { mandatory: true }, (error) => {
            events.push(error ?? `confirmed ${key}`);
          });
        // The binding went out before them, so they find it.
        publish('k');
        publish('nowhere');
        channel.waitForConfirms(
          expect(() => {
            // Two confirms may come in any order, but a return before its own.
            assert.deepEqual([...events].sort(), ['NO_ROUTE', 'confirmed k', 'confirmed nowhere']);
            assert.ok(events.indexOf('NO_ROUTE') < events.indexOf('confirmed nowhere'));
            channel.unbindQueue(queue, exchange, 'k', {}, expect());
            channel.purgeQueue(
              queue,
              expect(({ messageCount }) => {
                assert.equal(messageCount, 1);
                done();
              }),
            );
          }),
        );
      }),
    );
  }),

  'an error closes the channel alone': withChannel(
    ({ channel, connection, done, expect, guarded }) => {
      const missing = unique('missing');
      const text = `404 (NOT-FOUND) with message "NOT_FOUND - no queue '${missing}' in vhost '/'"`;
      const errors = new Inbox();
      channel.on('error', errors.put);
      // What waits behind the failed call fails with it.
      channel.checkQueue(
        missing,
        guarded((error) => {
          assert.equal(error.message, `Operation failed: QueueDeclare; ${text}`);
          assert.deepEqual([error.code, error.classId, error.methodId], [404, 50, 10]);
        }),
      );
      channel.checkExchange(
        'amq.direct',
        guarded((error) => {
          assert.equal(error.message, 'Channel ended, no reply will be forthcoming');
          errors.next().then(
            guarded((closed) => {
              assert.equal(closed.message, `Channel closed by server: ${text}`);
              connection.createChannel(
                expect((other) => other.checkExchange('amq.direct', expect(done))),
              );
            }),
          );
        }),
      );
    },
  ),

  'logins that fail say why': () =>
    soon(
      new Promise((resolve, reject) => {
        amqplib.connect(URL.replace('guest:guest', 'guest:wrong'), (error) => {
          try {
            assert.match(error.message, /403 \(ACCESS-REFUSED\).*Login was refused/);
            resolve();
          } catch (failure) {
            reject(failure);
          }
        });
      }),
      'the refusal',
    ),
});

// The library under test: the one of the command line, of those in package.json.

const assert = require('node:assert/strict');

const { Inbox, unique } = require('./checks');

const NAME = process.argv[2] ?? 'amqplib';
const amqplib = require(NAME);

const URL = process.env.AMQP_URL ?? 'amqp://guest:guest@localhost:5672/%2f';

function connect(query = '', options = {}) {
  return amqplib.connect(URL + query, options);
}

// Does some work with a connection, closed at its end. An error of the connection's is the work's.
async function withConnection(work, query) {
  const connection = await connect(query);
  const failed = new Promise((_, reject) => connection.on('error', reject));
  try {
    return await Promise.race([work(connection), failed]);
  } finally {
    await connection.close().catch(() => {});
  }
}

// The same with a channel and an exclusive queue.
function withQueue(work, query) {
  return withConnection(async (connection) => {
    const channel = await connection.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    await work({ connection, channel, queue });
  }, query);
}

// The deliveries to a new consumer, with its `tag`. A cancel of the broker's is a `null`.
async function consume(channel, queue, options) {
  const deliveries = new Inbox();
  const { consumerTag } = await channel.consume(queue, deliveries.put, options);
  deliveries.tag = consumerTag;
  return deliveries;
}

// The text of the message that is in the queue.
async function take(channel, queue) {
  const message = await channel.get(queue, { noAck: true });
  assert.ok(message, 'the queue is empty');
  return message.content.toString();
}

async function isEmpty(channel, queue) {
  assert.equal(await channel.get(queue, { noAck: true }), false);
}

// What an operation does closes a channel of its own, as this method's error, with this code and
// text, and leaves the connection.
async function refuses(connection, method, code, text, operation) {
  const channel = await connection.createChannel();
  const errors = new Inbox();
  channel.on('error', errors.put);
  await assert.rejects(async () => operation(channel), isRefusal(method, code, text));
  const error = await errors.next();
  assert.equal(error.message, `Channel closed by server: ${closing(code, text)}`);
  assert.equal(error.code, code);
  await (await connection.createChannel()).close();
}

function isRefusal(method, code, text) {
  return (error) => {
    // Before 1.0.6 a failed `get` gave the frame itself.
    if (error.fields) {
      assert.equal(error.fields.replyCode, code);
      assert.equal(error.fields.replyText, text);
    } else {
      assert.equal(error.message, `Operation failed: ${method}; ${closing(code, text)}`);
      assert.equal(error.code, code);
    }
    return true;
  };
}

// How the library words a close.
function closing(code, text) {
  const names = {
    312: 'NO-ROUTE',
    320: 'CONNECTION-FORCED',
    403: 'ACCESS-REFUSED',
    404: 'NOT-FOUND',
    405: 'RESOURCE-LOCKED',
    406: 'PRECONDITION-FAILED',
    530: 'NOT-ALLOWED',
    540: 'NOT-IMPLEMENTED',
  };
  return `${code} (${names[code]}) with message "${text}"`;
}

module.exports = {
  NAME,
  URL,
  amqplib,
  closing,
  connect,
  consume,
  isEmpty,
  refuses,
  take,
  unique,
  withConnection,
  withQueue,
};

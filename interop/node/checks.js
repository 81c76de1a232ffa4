// Runs the checks of a program, and what they have in common.

const { randomBytes } = require('node:crypto');
const { once } = require('node:events');
const net = require('node:net');
const { createInterface } = require('node:readline');

// Generous: it bounds a hang.
const PATIENCE = 20_000;

// A check can't be made with this broker; says why.
class Skipped extends Error {}

// Runs checks, by name, in their order; names each that fails or is skipped, and ends the process.
async function run(checks) {
  let passed = 0;
  let failed = 0;
  for (const [name, check] of Object.entries(checks)) {
    try {
      await soon(check(), name);
      passed++;
    } catch (error) {
      if (error instanceof Skipped) {
        console.log(`${name}: skipped, ${error.message}`);
      } else {
        failed++;
        console.log(`${name}: ${error.stack}`);
      }
    }
  }
  console.log(`${passed} of ${Object.keys(checks).length} checks passed`);
  process.exit(failed > 0 ? 1 : 0);
}

// What a promise gives, which must not take long.
async function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing came`)), PATIENCE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// A name nobody else uses.
function unique(name) {
  return `interop.${name}.${randomBytes(4).toString('hex')}`;
}

// Takes things as they come and gives them in their order to who asks for the next.
class Inbox {
  #arrived = [];
  #asking = [];

  put = (value) => {
    const ask = this.#asking.shift();
    if (ask) ask(value);
    else this.#arrived.push(value);
  };

  next() {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    return soon(new Promise((resolve) => this.#asking.push(resolve)), 'inbox');
  }

  // How many came that nobody asked for.
  get size() {
    return this.#arrived.length;
  }
}

// Has the broker stop in order, which closes connections with 320, and start again, with these
// settings if any.
async function restartBroker(settings = '') {
  if (!process.env.AMQP_CONTROL) throw new Skipped('nobody here may restart the broker');
  const [host, port] = process.env.AMQP_CONTROL.split(':');
  const wishes = net.connect({ host, port: Number(port) });
  try {
    wishes.write(`restart ${settings}\n`);
    const [answer] = await once(createInterface({ input: wishes }), 'line');
    if (answer !== 'restarted') throw new Error(`restarting the broker: ${answer}`);
  } finally {
    wishes.destroy();
  }
}

module.exports = { Inbox, Skipped, restartBroker, run, soon, unique };

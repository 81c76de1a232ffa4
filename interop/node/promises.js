// amqplib's promises against a broker: what applications do with them, and the errors they match on.
//
//     node promises.js [LIBRARY]       one of those in package.json

const { run } = require('./checks');

run({
  ...require('./messages'),
  ...require('./topology'),
  ...require('./kinds'),
  ...require('./connections'),
});

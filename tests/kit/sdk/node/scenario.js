// Drives the vendor's Node SDK, unmodified: one JSON line in, one JSON line out.
//
//   node scenario.js --host localhost:8443 --credentials /path/credentials.json [--account-id 2]
//   in:  {"method": "PhoneNumbers.attachPhoneNumber", "params": {"countryCode": "US", "phoneCount": 1}}
//   out: {"result": ...}  what the client's promise resolved to
//        {"error": {"code": 127, "msg": "..."}}  the server's refusal, which this SDK hands back as a plain value
//        {"thrown": {"name": "Error", "message": "...", "status": 500}}  what the promise was rejected with
//
// Trust in the server's certificate comes from the environment: NODE_EXTRA_CA_CERTS=/path/ca.pem.
'use strict';

const readline = require('readline');
const { parseArgs } = require('util');
const VoximplantApiClient = require('@voximplant/apiclient-nodejs').default;

const { values: options } = parseArgs({
  options: {
    host: { type: 'string' },
    credentials: { type: 'string' },
    'account-id': { type: 'string' },
  },
});

function connect() {
  const parameters = { pathToCredentials: options.credentials, host: options.host };
  if (options['account-id']) parameters.accountId = Number(options['account-id']);
  return new Promise((resolve) => {
    const client = new VoximplantApiClient(parameters);
    client.onReady = () => resolve(client);
  });
}

async function call(client, { method, params }) {
  const [group, name] = method.split('.');
  if (!client[group] || !client[group][name]) {
    return { thrown: { name: 'NoSuchMethod', message: method } };
  }
  try {
    const answer = await client[group][name](params || {});
    return answer.error ? { error: answer.error } : { result: answer };
  } catch (error) {
    const status = error.response && error.response.status;
    return { thrown: { name: error.name, message: error.message, status } };
  }
}

async function main() {
  const client = await connect();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line.trim()) console.log(JSON.stringify(await call(client, JSON.parse(line))));
  }
}

main();

// Prism 5.16 looks for its cluster module under a name that only a bundler would give it, and ends at once in
// production mode. Loaded before it, this gives the module that name.
const cluster = require('node:cluster');
cluster.default = cluster;

// Loaded before iExec's command line: whatever it tries to reach beyond this machine is refused, so that what works here
// works without any of iExec's services.
import net from "node:net";

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  const host = options?.host ?? "127.0.0.1";
  if (!options?.path && !["127.0.0.1", "localhost", "::1"].includes(host)) {
    throw new Error(`${host} is beyond this machine`);
  }
  return connect.apply(this, args);
};

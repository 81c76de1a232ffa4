import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.GetResponse;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Queues, exchanges and bindings, and the errors of their declarations. */
final class Topology {
  interface Attempt {
    void make(Channel channel) throws Exception;
  }

  static void serverNamedQueues() throws Exception {
    try (Client client = Client.open()) {
      Set<String> names = new HashSet<>();
      for (int number = 0; number < 3; number++) {
        String name = client.channel().queueDeclare().getQueue();
        Checks.matches(name, "amq\\.gen-[\\w-]{22}");
        names.add(name);
        // No name is the last one declared on the channel.
        client.channel().queueBind("", "amq.fanout", "");
        client.channel().basicPublish("", name, null, new byte[0]);
        Checks.equal(client.channel().queuePurge("").getMessageCount(), 1);
        client.channel().queueUnbind("", "amq.fanout", "");
      }
      Checks.equal(names.size(), 3);
    }
  }

  static void exchangesOfEveryType() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      for (BuiltinExchangeType type : BuiltinExchangeType.values()) {
        String exchange = Checks.unique(type.getType());
        String binding =
            switch (type) {
              case TOPIC -> "a.#";
                // Its weight.
              case CONSISTENT_HASH -> "1";
              case LOCAL_RANDOM -> "";
              default -> "a.b";
            };
        Map<String, Object> arguments = Map.of("x-match", "any", "a", 1, "b", "no");
        channel.exchangeDeclare(exchange, type, true);
        channel.exchangeDeclarePassive(exchange);
        channel.queueBind(client.queue(), exchange, binding, arguments);
        // The same number, one wider.
        AMQP.BasicProperties properties =
            new AMQP.BasicProperties.Builder().headers(Map.of("a", 1L)).build();
        channel.basicPublish(exchange, "a.b", properties, Client.bytes("x"));
        GetResponse message = channel.basicGet(client.queue(), true);
        Checks.equal(message.getEnvelope().getExchange(), exchange);
        Checks.equal(message.getEnvelope().getRoutingKey(), "a.b");
        channel.queueUnbind(client.queue(), exchange, binding, arguments);
        channel.basicPublish(exchange, "a.b", properties, Client.bytes("lost"));
        client.isEmpty();
        channel.exchangeDelete(exchange, true);
        // What is gone already is no error.
        channel.exchangeDelete(exchange);
      }
    }
  }

  static void exchangeToExchange() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      String source = Checks.unique("source");
      String target = Checks.unique("target");
      Map<String, Object> alternate = Map.of("alternate-exchange", target);
      channel.exchangeDeclare(target, "fanout", false, true, true, null);
      channel.exchangeDeclare(source, "topic", false, true, alternate);
      channel.queueBind(client.queue(), target, "");
      channel.exchangeBind(target, source, "a.*");
      for (String key : List.of("a.b", "no.route.but.the.alternate")) {
        client.publish(source, key, key);
        Checks.equal(client.take(), key);
      }
      channel.exchangeUnbind(target, source, "a.*");
      // The last binding it was the source of took it away.
      Checks.refused(
          404,
          "NOT_FOUND - no exchange '" + source + "' in vhost '/'",
          Cause.EXCHANGE_DECLARE,
          () -> channel.exchangeDeclarePassive(source));
    }
  }

  /** Methods that do not wait for an answer are done in their order all the same. */
  static void withoutWaiting() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      String exchange = Checks.unique("java");
      String queue = Checks.unique("java");
      channel.exchangeDeclareNoWait(exchange, "direct", false, true, false, null);
      channel.queueDeclareNoWait(queue, false, true, false, null);
      channel.queueBindNoWait(queue, exchange, "k", null);
      client.publish(exchange, "k", "x");
      Checks.becomes(() -> channel.messageCount(queue), 1L);
      channel.queueDeleteNoWait(queue, false, false);
      // Its errors close the channel as well.
      Checks.refused(
          404,
          "NOT_FOUND - no queue '" + queue + "' in vhost '/'",
          Cause.QUEUE_BIND,
          () -> {
            channel.queueBindNoWait(queue, "amq.direct", "k", null);
            channel.exchangeDeclarePassive("amq.direct");
          });
    }
  }

  static void exclusiveQueues() throws Exception {
    String name = Checks.unique("java");
    try (Client other = Client.open()) {
      try (Client owner = Client.open()) {
        owner.channel().queueDeclare(name, false, true, false, null);
        String locked =
            "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '"
                + name
                + "' in vhost '/'. It could be originally declared on another connection or the "
                + "exclusive property value does not match that of the original declaration.";
        refused(other, 405, locked, Cause.QUEUE_DECLARE, ch -> ch.queueDeclarePassive(name));
        refused(
            other,
            405,
            locked,
            Cause.QUEUE_DECLARE,
            ch -> ch.queueDeclare(name, false, true, false, null));
        refused(
            other,
            405,
            locked,
            Cause.CONSUME,
            ch -> ch.basicConsume(name, new Client.Deliveries(ch)));
        refused(other, 405, locked, Cause.GET, ch -> ch.basicGet(name, true));
        refused(other, 405, locked, Cause.QUEUE_PURGE, ch -> ch.queuePurge(name));
        refused(other, 405, locked, Cause.QUEUE_BIND, ch -> ch.queueBind(name, "amq.fanout", ""));
        refused(other, 405, locked, Cause.QUEUE_DELETE, ch -> ch.queueDelete(name));
        owner.connection().close();
      }
      // Gone by the time the owner's close is answered.
      isMissing(other, name);
    }
  }

  static void autoDeleteQueues() throws Exception {
    try (Client client = Client.open()) {
      String name = Checks.unique("java");
      client.channel().queueDeclare(name, false, false, true, null);
      Channel first = client.connection().createChannel();
      first.basicConsume(name, new Client.Deliveries(first));
      Channel second = client.connection().createChannel();
      String tag = second.basicConsume(name, new Client.Deliveries(second));
      first.close();
      Checks.equal(client.channel().consumerCount(name), 1L);
      second.basicCancel(tag);
      isMissing(client, name);
    }
  }

  static void refusals() throws Exception {
    try (Client client = Client.open()) {
      String missing = Checks.unique("missing");
      String found = Checks.unique("java");
      client.channel().queueDeclare(found, false, true, false, Map.of("x-message-ttl", 60_000));
      client.channel().basicConsume(found, new Client.Deliveries(client.channel()));
      String noQueue = "NOT_FOUND - no queue '" + missing + "' in vhost '/'";
      String noExchange = "NOT_FOUND - no exchange '" + missing + "' in vhost '/'";
      refused(client, 404, noQueue, Cause.QUEUE_DECLARE, ch -> ch.queueDeclarePassive(missing));
      refused(client, 404, noQueue, Cause.QUEUE_PURGE, ch -> ch.queuePurge(missing));
      refused(client, 404, noQueue, Cause.GET, ch -> ch.basicGet(missing, true));
      refused(
          client,
          404,
          noQueue,
          Cause.CONSUME,
          ch -> ch.basicConsume(missing, new Client.Deliveries(ch)));
      refused(
          client, 404, noQueue, Cause.QUEUE_BIND, ch -> ch.queueBind(missing, "amq.direct", ""));
      refused(client, 404, noExchange, Cause.QUEUE_BIND, ch -> ch.queueBind(found, missing, ""));
      refused(
          client,
          404,
          noExchange,
          Cause.EXCHANGE_BIND,
          ch -> ch.exchangeBind("amq.direct", missing, ""));
      refused(
          client,
          404,
          noExchange,
          Cause.EXCHANGE_DECLARE,
          ch -> ch.exchangeDeclarePassive(missing));
      refused(
          client,
          403,
          "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
          Cause.QUEUE_DECLARE,
          ch -> ch.queueDeclare("amq.mine", false, false, false, null));
      refused(
          client,
          403,
          "ACCESS_REFUSED - operation not permitted on the default exchange",
          Cause.QUEUE_BIND,
          ch -> ch.queueBind(found, "", "k"));
      refused(
          client,
          403,
          "ACCESS_REFUSED - deletion of system exchange 'amq.direct' in vhost '/' not allowed",
          Cause.EXCHANGE_DELETE,
          ch -> ch.exchangeDelete("amq.direct"));
      refused(
          client,
          406,
          "PRECONDITION_FAILED - invalid exchange type 'odd'",
          Cause.EXCHANGE_DECLARE,
          ch -> ch.exchangeDeclare(missing, "odd"));
      refused(
          client,
          406,
          "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': "
              + "received 'fanout' but current is 'topic'",
          Cause.EXCHANGE_DECLARE,
          ch -> ch.exchangeDeclare("amq.topic", "fanout", true));
      String inequivalent =
          "PRECONDITION_FAILED - inequivalent arg '%s' for queue '" + found + "' in vhost '/': %s";
      refused(
          client,
          406,
          inequivalent.formatted("auto_delete", "received 'true' but current is 'false'"),
          Cause.QUEUE_DECLARE,
          ch -> ch.queueDeclare(found, false, true, true, null));
      refused(
          client,
          406,
          inequivalent.formatted("x-message-ttl", "received '5' but current is '60000'"),
          Cause.QUEUE_DECLARE,
          ch -> ch.queueDeclare(found, false, true, false, Map.of("x-message-ttl", 5L)));
      refused(
          client,
          406,
          inequivalent.formatted(
              "x-message-ttl",
              "received none but current is the value '60000' of type 'signedint'"),
          Cause.QUEUE_DECLARE,
          ch -> ch.queueDeclare(found, false, true, false, null));
      refused(
          client,
          406,
          "PRECONDITION_FAILED - queue '" + found + "' in vhost '/' in use",
          Cause.QUEUE_DELETE,
          ch -> ch.queueDelete(found, true, false));
      client.publish("x");
      refused(
          client,
          406,
          "PRECONDITION_FAILED - queue '" + client.queue() + "' in vhost '/' not empty",
          Cause.QUEUE_DELETE,
          ch -> ch.queueDelete(client.queue(), false, true));
      refused(
          client,
          406,
          "PRECONDITION_FAILED - invalid arg 'x-priority' for queue '"
              + found
              + "' in vhost '/': \"expected integer, got longstr\"",
          Cause.CONSUME,
          ch ->
              ch.basicConsume(
                  found, false, Map.of("x-priority", "high"), new Client.Deliveries(ch)));
    }
  }

  static void isMissing(Client client, String queue) throws Exception {
    String text = "NOT_FOUND - no queue '" + queue + "' in vhost '/'";
    refused(client, 404, text, Cause.QUEUE_DECLARE, ch -> ch.queueDeclarePassive(queue));
  }

  /** What is attempted closes a channel of its own, and leaves the connection. */
  static void refused(Client client, int code, String text, Cause cause, Attempt attempt)
      throws Exception {
    Connection connection = client.connection();
    Channel channel = connection.createChannel();
    Checks.refused(code, text, cause, () -> attempt.make(channel));
    Checks.equal(channel.isOpen(), false);
    Checks.equal(connection.isOpen(), true);
  }

  private Topology() {}
}

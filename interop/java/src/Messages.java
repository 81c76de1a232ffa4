import static java.util.concurrent.TimeUnit.SECONDS;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Return;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import com.rabbitmq.client.StringRpcServer;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;

/** Publishing, getting, consuming and settling. */
final class Messages {
  static void propertiesRoundTrip() throws Exception {
    Map<String, Object> headers = new HashMap<>();
    headers.put("text", "ü");
    headers.put("bytes", new byte[] {0, (byte) 255});
    headers.put("bool", true);
    headers.put("void", null);
    headers.put("byte", (byte) -8);
    headers.put("short", (short) -1600);
    headers.put("int", -320_000);
    headers.put("long", Long.MIN_VALUE);
    headers.put("float", 0.5f);
    headers.put("double", 0.1);
    headers.put("decimal", new BigDecimal("123.45"));
    headers.put("date", new Date(1_700_000_000_000L));
    headers.put("list", Arrays.asList(1, "two", Map.of("three", 3L), null, List.of()));
    headers.put("table", Map.of("deep", Map.of("deeper", "yes")));
    AMQP.BasicProperties sent =
        new AMQP.BasicProperties.Builder()
            .contentType("text/plain")
            .contentEncoding("utf-8")
            .headers(headers)
            .deliveryMode(2)
            .priority(5)
            .correlationId("correlation")
            .replyTo("reply")
            .expiration("60000")
            .messageId("message")
            .timestamp(new Date(1_700_000_000_000L))
            .type("type")
            .userId("guest")
            .appId("app")
            .clusterId("cluster")
            .build();
    try (Client client = Client.open()) {
      client.channel().basicPublish("", client.queue(), sent, Client.bytes("body"));
      GetResponse found = client.channel().basicGet(client.queue(), true);
      Checks.equal(Client.text(found.getBody()), "body");
      Checks.equal(found.getMessageCount(), 0);
      Checks.equal(found.getEnvelope().isRedeliver(), false);
      Map<String, Object> received = found.getProps().getHeaders();
      Checks.equal((byte[]) received.remove("bytes"), (byte[]) headers.remove("bytes"));
      Checks.equal(plain(received), headers);
      Checks.equal(
          found.getProps().builder().headers(null).build(), sent.builder().headers(null).build());
    }
  }

  /** With `String` for the library's `LongString`. */
  static Object plain(Object value) {
    if (value instanceof LongString text) {
      return text.toString();
    } else if (value instanceof List<?> list) {
      return new ArrayList<>(list.stream().map(Messages::plain).toList());
    } else if (value instanceof Map<?, ?> map) {
      Map<Object, Object> plain = new HashMap<>();
      map.forEach((name, one) -> plain.put(name, plain(one)));
      return plain;
    }
    return value;
  }

  static void bodiesOfAllSizes() throws Exception {
    for (int frameMax : new int[] {4096, 8192, 131_072}) {
      Connection connection = Client.connect(factory -> factory.setRequestedFrameMax(frameMax));
      try (Client client = Client.on(connection)) {
        Checks.equal(connection.getFrameMax(), frameMax);
        int whole = frameMax - 8;
        for (int size : new int[] {0, 1, whole - 1, whole, whole + 1, 2 * whole, 3_000_000}) {
          byte[] body = new byte[size];
          Arrays.fill(body, (byte) size);
          client.channel().basicPublish("", client.queue(), null, body);
          Checks.equal(client.channel().basicGet(client.queue(), true).getBody(), body);
        }
      }
    }
  }

  static void confirms() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      String name = Checks.unique("java");
      channel.queueDeclare(name, true, false, false, null);
      Checks.equal(channel.getNextPublishSeqNo(), 0L);
      channel.confirmSelect();
      Checks.equal(channel.getNextPublishSeqNo(), 1L);
      SortedSet<Long> pending = new TreeSet<>();
      CompletableFuture<Void> all = new CompletableFuture<>();
      channel.addConfirmListener(
          (tag, multiple) -> {
            synchronized (pending) {
              // None is told twice.
              if (!pending.contains(tag)) {
                all.completeExceptionally(new AssertionError("confirmed again: " + tag));
              } else if (multiple) {
                pending.headSet(tag + 1).clear();
              } else {
                pending.remove(tag);
              }
              if (pending.isEmpty()) {
                all.complete(null);
              }
            }
          },
          (tag, multiple) -> all.completeExceptionally(new AssertionError("refused: " + tag)));
      synchronized (pending) {
        for (int number = 0; number < 1000; number++) {
          pending.add(channel.getNextPublishSeqNo());
          channel.basicPublish(
              "", name, MessageProperties.PERSISTENT_TEXT_PLAIN, Client.bytes("x"));
        }
      }
      all.get(Checks.PATIENCE_SECONDS, SECONDS);
      channel.waitForConfirmsOrDie(Checks.PATIENCE_SECONDS * 1000);
      Checks.equal(channel.getNextPublishSeqNo(), 1001L);
      Checks.equal(channel.messageCount(name), 1000L);
      Checks.equal(channel.queuePurge(name).getMessageCount(), 1000);
      channel.queueDelete(name);
    }
  }

  static void fullQueueNacks() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      Map<String, Object> arguments = Map.of("x-max-length", 1, "x-overflow", "reject-publish");
      String queue = channel.queueDeclare("", false, true, false, arguments).getQueue();
      channel.confirmSelect();
      channel.basicPublish("", queue, null, Client.bytes("kept"));
      Checks.equal(channel.waitForConfirms(Checks.PATIENCE_SECONDS * 1000), true);
      channel.basicPublish("", queue, null, Client.bytes("refused"));
      Checks.equal(channel.waitForConfirms(Checks.PATIENCE_SECONDS * 1000), false);
      Checks.equal(channel.messageCount(queue), 1L);
    }
  }

  static void returnsBeforeConfirms() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      BlockingQueue<Object> events = new LinkedBlockingQueue<>();
      channel.confirmSelect();
      channel.addReturnListener((Return back) -> events.add(back));
      channel.addConfirmListener((tag, multiple) -> events.add(tag), (tag, multiple) -> {});
      String key = Checks.unique("nowhere");
      // Spring tells by it which publish came back.
      Map<String, Object> headers = Map.of("spring_returned_message_correlation", "a b c");
      AMQP.BasicProperties properties = new AMQP.BasicProperties.Builder().headers(headers).build();
      channel.basicPublish("amq.direct", key, true, properties, Client.bytes("lost"));
      Return back = (Return) Checks.next(events);
      Checks.equal(back.getReplyCode(), 312);
      Checks.equal(back.getReplyText(), "NO_ROUTE");
      Checks.equal(back.getExchange(), "amq.direct");
      Checks.equal(back.getRoutingKey(), key);
      Checks.equal(plain(back.getProperties().getHeaders()), headers);
      Checks.equal(Client.text(back.getBody()), "lost");
      Checks.equal(Checks.next(events), 1L);
      // Not mandatory: taken and dropped.
      client.publish("amq.direct", key, "dropped");
      Checks.equal(Checks.next(events), 2L);
    }
  }

  static void consumeWithPrefetch() throws Exception {
    try (Client client = Client.open()) {
      for (int number = 0; number < 20; number++) {
        client.publish(String.valueOf(number));
      }
      Channel consumer = client.connection().createChannel();
      consumer.basicQos(5);
      Client.Deliveries deliveries = new Client.Deliveries(consumer);
      Checks.equal(consumer.basicConsume(client.queue(), false, "me", deliveries), "me");
      for (int number = 0; number < 20; number++) {
        Delivery delivery = deliveries.next();
        Checks.equal(Client.text(delivery.getBody()), String.valueOf(number));
        Checks.equal(delivery.getEnvelope().getDeliveryTag(), number + 1L);
        // Every fifth settles the five: only then is there more.
        if (number % 5 == 4) {
          Checks.equal(client.channel().messageCount(client.queue()), 19L - number);
          Checks.equal(deliveries.arrived.size(), 0);
          consumer.basicAck(number + 1, true);
        }
      }
      Checks.equal(client.channel().consumerCount(client.queue()), 1L);
      consumer.basicCancel("me");
      Checks.equal(client.channel().consumerCount(client.queue()), 0L);
    }
  }

  /** One limit for the channel, as clients from before per-consumer limits mean it. */
  static void prefetchOfTheChannel() throws Exception {
    try (Client client = Client.open()) {
      for (int number = 0; number < 10; number++) {
        client.publish("x");
      }
      Channel consumer = client.connection().createChannel();
      consumer.basicQos(3, true);
      Client.Deliveries deliveries = new Client.Deliveries(consumer);
      consumer.basicConsume(client.queue(), false, deliveries);
      consumer.basicConsume(client.queue(), false, deliveries);
      for (int number = 0; number < 3; number++) {
        deliveries.next();
      }
      Checks.equal(client.channel().messageCount(client.queue()), 7L);
      Checks.equal(deliveries.arrived.size(), 0);
    }
  }

  static void nackRejectAndRecover() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      client.publish("x");
      Client.Deliveries deliveries = client.consume(false);
      for (long tag = 1; tag <= 4; tag++) {
        Delivery delivery = deliveries.next();
        Checks.equal(delivery.getEnvelope().getDeliveryTag(), tag);
        Checks.equal(delivery.getEnvelope().isRedeliver(), tag > 1);
        if (tag == 1) {
          channel.basicNack(tag, false, true);
        } else if (tag == 2) {
          channel.basicReject(tag, true);
        } else if (tag == 3) {
          channel.basicRecover(true);
        } else {
          channel.basicReject(tag, false);
        }
      }
      // All there is, which is nothing.
      channel.basicAck(0, true);
      channel.basicCancel(deliveries.getConsumerTag());
      client.isEmpty();
    }
  }

  /** Spring polls so. */
  static void getUntilEmpty() throws Exception {
    try (Client client = Client.open()) {
      for (int number = 0; number < 500; number++) {
        client.publish(String.valueOf(number));
      }
      for (int number = 0; number < 500; number++) {
        GetResponse message = client.channel().basicGet(client.queue(), false);
        Checks.equal(Client.text(message.getBody()), String.valueOf(number));
        Checks.equal(message.getMessageCount(), 499 - number);
        client.channel().basicAck(message.getEnvelope().getDeliveryTag(), false);
      }
      client.isEmpty();
    }
  }

  /** With the library's own server and client. */
  static void rpc() throws Exception {
    try (Client serving = Client.open();
        Client asking = Client.open()) {
      StringRpcServer server =
          new StringRpcServer(serving.channel(), serving.queue()) {
            @Override
            public String handleStringCall(String request, AMQP.BasicProperties properties) {
              return request.toUpperCase();
            }
          };
      // Ends with its channel.
      new Thread(() -> mainloop(server)).start();
      for (String replyTo : List.of("amq.rabbitmq.reply-to", asking.queue())) {
        RpcClient client =
            new RpcClient(
                new RpcClientParams()
                    .channel(asking.channel())
                    .exchange("")
                    .routingKey(serving.queue())
                    .replyTo(replyTo)
                    .timeout(Checks.PATIENCE_SECONDS * 1000));
        for (int number = 0; number < 10; number++) {
          Checks.equal(client.stringCall("request " + number), "REQUEST " + number);
        }
        client.close();
      }
    }
  }

  private static void mainloop(StringRpcServer server) {
    try {
      server.mainloop();
    } catch (Exception error) {
      throw new AssertionError(error);
    }
  }

  static void transactions() throws Exception {
    try (Client client = Client.open()) {
      Channel channel = client.channel();
      channel.txSelect();
      client.publish("kept");
      client.isEmpty();
      channel.txCommit();
      client.publish("dropped");
      channel.txRollback();
      GetResponse message = channel.basicGet(client.queue(), false);
      Checks.equal(Client.text(message.getBody()), "kept");
      // An acknowledgement is taken back with the rest.
      channel.basicAck(message.getEnvelope().getDeliveryTag(), false);
      channel.txRollback();
      channel.basicAck(message.getEnvelope().getDeliveryTag(), false);
      channel.txCommit();
      client.isEmpty();
      Checks.refused(
          406,
          "PRECONDITION_FAILED - cannot switch from tx to confirm mode",
          Cause.CONFIRM_SELECT,
          channel::confirmSelect);
    }
  }

  static void cancelledConsumer() throws Exception {
    try (Client client = Client.open()) {
      String name = Checks.unique("java");
      client.channel().queueDeclare(name, false, false, false, null);
      Client.Deliveries deliveries = new Client.Deliveries(client.channel());
      String tag = client.channel().basicConsume(name, true, deliveries);
      Checks.matches(tag, "amq\\.ctag-[\\w-]{22}");
      client.connection().createChannel().queueDelete(name);
      Checks.equal(Checks.next(deliveries.cancelled), tag);
      Checks.equal(client.channel().isOpen(), true);
    }
  }

  private Messages() {}
}

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.Envelope;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;

/** An open connection, a channel and an exclusive queue on it. */
record Client(Connection connection, Channel channel, String queue) implements AutoCloseable {
  static Connection connect() throws Exception {
    return connect(factory -> factory.setAutomaticRecoveryEnabled(false));
  }

  static Connection connect(Consumer<ConnectionFactory> change) throws Exception {
    ConnectionFactory factory = new ConnectionFactory();
    String url = System.getenv("AMQP_URL");
    factory.setUri(url == null ? "amqp://guest:guest@localhost:5672/%2f" : url);
    change.accept(factory);
    return factory.newConnection("interop");
  }

  static Client open() throws Exception {
    return on(connect());
  }

  static Client on(Connection connection) throws IOException {
    Channel channel = connection.createChannel();
    // Without arguments it would be an auto-delete one.
    String queue = channel.queueDeclare("", false, true, false, null).getQueue();
    return new Client(connection, channel, queue);
  }

  @Override
  public void close() {
    // It may be closed already, which is the check's to judge.
    connection.abort();
  }

  void publish(String body) throws IOException {
    publish("", queue, body);
  }

  void publish(String exchange, String key, String body) throws IOException {
    channel.basicPublish(exchange, key, null, bytes(body));
  }

  /** The text of the message that is in the queue. */
  String take() throws IOException {
    GetResponse message = channel.basicGet(queue, true);
    if (message == null) {
      throw new AssertionError("the queue is empty");
    }
    return text(message.getBody());
  }

  void isEmpty() throws IOException {
    Checks.equal(channel.basicGet(queue, true), null);
  }

  Deliveries consume(boolean autoAck) throws IOException {
    Deliveries deliveries = new Deliveries(channel);
    channel.basicConsume(queue, autoAck, deliveries);
    return deliveries;
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  static String text(byte[] body) {
    return new String(body, StandardCharsets.UTF_8);
  }

  /** A consumer that keeps what it gets for who asks for the next. */
  static final class Deliveries extends DefaultConsumer {
    final BlockingQueue<Delivery> arrived = new LinkedBlockingQueue<>();
    final BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
    final BlockingQueue<ShutdownSignalException> ended = new LinkedBlockingQueue<>();

    Deliveries(Channel channel) {
      super(channel);
    }

    Delivery next() throws InterruptedException {
      return Checks.next(arrived);
    }

    String nextText() throws InterruptedException {
      return text(next().getBody());
    }

    @Override
    public void handleDelivery(
        String tag, Envelope envelope, AMQP.BasicProperties properties, byte[] body) {
      arrived.add(new Delivery(envelope, properties, body));
    }

    @Override
    public void handleCancel(String tag) {
      cancelled.add(tag);
    }

    @Override
    public void handleShutdownSignal(String tag, ShutdownSignalException reason) {
      ended.add(reason);
    }
  }
}

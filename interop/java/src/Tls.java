import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultSaslConfig;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** TLS, with a password and with a certificate. */
final class Tls {
  private static final char[] PASSWORD = "none".toCharArray();

  static void passwordsAndCertificates() throws Exception {
    ConnectionFactory plain = factory(false);
    passes(plain, "guest");
    ConnectionFactory certified = factory(true);
    certified.setSaslConfig(DefaultSaslConfig.EXTERNAL);
    passes(certified, "interop");
    plain.setSaslConfig(DefaultSaslConfig.EXTERNAL);
    try (Connection connection = plain.newConnection()) {
      throw new AssertionError("a client without a certificate was let in");
    } catch (AuthenticationFailureException expected) {
      Checks.matches(expected.getMessage(), "ACCESS_REFUSED.*EXTERNAL.*");
    }
  }

  /** A message goes through that only this user may say to be theirs. */
  private static void passes(ConnectionFactory factory, String user) throws Exception {
    try (Connection connection = factory.newConnection()) {
      Channel channel = connection.createChannel();
      String queue = channel.queueDeclare().getQueue();
      AMQP.BasicProperties named = new AMQP.BasicProperties.Builder().userId(user).build();
      channel.basicPublish("", queue, named, new byte[100_000]);
      Checks.equal(channel.basicGet(queue, true).getBody().length, 100_000);
    }
  }

  private static ConnectionFactory factory(boolean isCertified) throws Exception {
    String address = System.getenv("AMQPS_ADDRESS");
    if (address == null) {
      throw new Checks.Skipped("nobody said where TLS is spoken");
    }
    KeyStore trusted = store();
    trusted.setCertificateEntry("authority", certificate("ca.pem"));
    TrustManagerFactory trust =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(trusted);
    KeyStore own = store();
    if (isCertified) {
      own.setKeyEntry("own", key("client.key"), PASSWORD, new Certificate[] {certificate("client.pem")});
    }
    KeyManagerFactory keys =
        KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    keys.init(own, PASSWORD);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
    ConnectionFactory factory = new ConnectionFactory();
    factory.setHost("localhost");
    factory.setPort(Integer.parseInt(address.substring(address.lastIndexOf(':') + 1)));
    factory.useSslProtocol(context);
    factory.enableHostnameVerification();
    return factory;
  }

  private static KeyStore store() throws Exception {
    KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, PASSWORD);
    return store;
  }

  private static Path file(String name) {
    return Path.of(System.getenv("AMQPS_CERTIFICATES"), name);
  }

  private static Certificate certificate(String name) throws Exception {
    try (InputStream stream = Files.newInputStream(file(name))) {
      return CertificateFactory.getInstance("X.509").generateCertificate(stream);
    }
  }

  private static PrivateKey key(String name) throws Exception {
    String text = Files.readString(file(name)).replaceAll("-----[A-Z ]+-----|\\s", "");
    PKCS8EncodedKeySpec encoded = new PKCS8EncodedKeySpec(Base64.getDecoder().decode(text));
    return KeyFactory.getInstance("EC").generatePrivate(encoded);
  }
}

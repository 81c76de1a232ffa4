import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.Socket;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/** Runs the checks of a program, and what they have in common. */
final class Checks {
  /** Generous: it bounds a hang. */
  static final int PATIENCE_SECONDS = 20;

  /** Something to see; fails by throwing. */
  interface Step {
    void make() throws Exception;
  }

  record Check(String name, Step step) {}

  /** A check can't be made with this broker; says why. */
  static final class Skipped extends RuntimeException {
    Skipped(String reason) {
      super(reason);
    }
  }

  /** Runs checks in their order, names each that fails or is skipped, and ends the process. */
  static void run(List<Check> checks) {
    int passed = 0;
    int failed = 0;
    for (Check check : checks) {
      try {
        check.step().make();
        passed++;
      } catch (Skipped reason) {
        System.out.printf("%s: skipped, %s%n", check.name(), reason.getMessage());
      } catch (Throwable failure) {
        failed++;
        System.out.printf("%s: ", check.name());
        failure.printStackTrace(System.out);
      }
    }
    System.out.printf("%d of %d checks passed%n", passed, checks.size());
    System.exit(failed > 0 ? 1 : 0);
  }

  static void equal(Object found, Object expected) {
    if (!Objects.deepEquals(found, expected)) {
      throw new AssertionError("found " + found + " instead of " + expected);
    }
  }

  static void matches(String found, String expected) {
    if (!found.matches(expected)) {
      throw new AssertionError("found " + found + " instead of " + expected);
    }
  }

  /** The next of what comes. */
  static <T> T next(BlockingQueue<T> from) throws InterruptedException {
    T value = from.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
    if (value == null) {
      throw new AssertionError("nothing came");
    }
    return value;
  }

  /** The exception that a step throws. */
  static <T extends Throwable> T thrown(Class<T> kind, Step step) {
    try {
      step.make();
    } catch (Throwable error) {
      if (kind.isInstance(error)) {
        return kind.cast(error);
      }
      throw new AssertionError("another exception than " + kind, error);
    }
    throw new AssertionError("no " + kind);
  }

  /** The step fails as the broker closes something with this, on that account. */
  static void refused(int code, String text, Cause cause, Step step) {
    Exception failure = thrown(Exception.class, step);
    Throwable error = failure;
    while (!(error instanceof ShutdownSignalException signal)) {
      if (error == null) {
        throw new AssertionError("the broker closed nothing", failure);
      }
      error = error.getCause();
    }
    closed(signal, code, text, cause);
  }

  static void closed(ShutdownSignalException error, int code, String text, Cause cause) {
    equal(error.isInitiatedByApplication(), false);
    if (error.getReason() instanceof AMQP.Channel.Close close) {
      equal(close.getReplyText(), text);
      equal(close.getReplyCode(), code);
      equal(
          List.of(close.getClassId(), close.getMethodId()), List.of(cause.classId, cause.methodId));
    } else if (error.getReason() instanceof AMQP.Connection.Close close) {
      equal(close.getReplyText(), text);
      equal(close.getReplyCode(), code);
      equal(
          List.of(close.getClassId(), close.getMethodId()), List.of(cause.classId, cause.methodId));
    } else {
      throw new AssertionError("closed with " + error.getReason(), error);
    }
  }

  /** What a call gives once it is what is expected, which must not take long. */
  static <T> void becomes(Callable<T> call, T expected) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
    while (!Objects.equals(call.call(), expected)) {
      if (System.nanoTime() > deadline) {
        throw new AssertionError("it stays " + call.call() + " instead of " + expected);
      }
      Thread.sleep(10);
    }
  }

  /** A name nobody else uses. */
  static String unique(String name) {
    return "interop." + name + "." + UUID.randomUUID().toString().substring(0, 8);
  }

  /**
   * Has the broker stop in order, which closes connections with 320, and start again, with these
   * settings if any.
   */
  static void restartBroker(String... settings) throws Exception {
    String control = System.getenv("AMQP_CONTROL");
    if (control == null) {
      throw new Skipped("nobody here may restart the broker");
    }
    String[] address = control.split(":");
    try (Socket wishes = new Socket(address[0], Integer.parseInt(address[1]))) {
      String wish = "restart " + String.join(" ", settings) + "\n";
      wishes.getOutputStream().write(wish.getBytes());
      equal(
          new BufferedReader(new InputStreamReader(wishes.getInputStream())).readLine(),
          "restarted");
    }
  }

  private Checks() {}
}

import java.nio.file.Path;
import java.util.List;
import org.opensearch.common.logging.LogConfigurator;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.Node;
import org.opensearch.transport.Netty4Plugin;

/** One node of OpenSearch, its module for HTTP taken from the class path. */
public class OpenSearchServer extends Node {
    private OpenSearchServer(Environment environment) {
        super(environment, List.of(Netty4Plugin.class), false);
    }

    /** Run a node until SIGTERM, given its home and then settings, each as NAME=VALUE. */
    public static void main(String[] arguments) {
        try {
            start(Path.of(arguments[0]), arguments);
            Thread.currentThread().join(); // all threads of the node are daemons
        } catch (Throwable reason) {
            reason.printStackTrace();
            System.exit(1);
        }
    }

    private static void start(Path home, String[] arguments) throws Exception {
        Settings.Builder settings = Settings.builder().put("path.home", home);
        for (int i = 1; i < arguments.length; i++) {
            String[] setting = arguments[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        LogConfigurator.configureWithoutConfig(Settings.EMPTY);
        new OpenSearchServer(new Environment(settings.build(), home.resolve("config"))).start();
    }
}

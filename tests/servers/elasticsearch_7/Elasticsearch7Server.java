import java.nio.file.Path;
import java.util.List;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.transport.Netty4Plugin;

/** One node of Elasticsearch 7, its module for HTTP taken from the class path. */
public class Elasticsearch7Server extends Node {
    private Elasticsearch7Server(Environment environment) {
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
        new Elasticsearch7Server(new Environment(settings.build(), home.resolve("config"))).start();
    }
}

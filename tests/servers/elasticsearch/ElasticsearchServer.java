import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginBundle;
import org.elasticsearch.plugins.PluginsLoader;

/** One node of Elasticsearch, without the distribution's launcher, which Maven Central does not have. */
public class ElasticsearchServer {
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
        LogConfigurator.configureESLogging();
        Settings.Builder settings = Settings.builder().put("path.home", home);
        for (int i = 1; i < arguments.length; i++) {
            String[] setting = arguments[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        Set<PluginBundle> modules = PluginsLoader.loadModulesBundles(home.resolve("modules"), false);
        PluginsLoader loader = PluginsLoader.createPluginsLoader(modules, Set.of(), Map.of(), false);
        Node node = new Node(new Environment(settings.build(), home.resolve("config")), loader);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        node.start();
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (Exception reason) {
            reason.printStackTrace();
        }
    }
}

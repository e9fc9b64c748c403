/** The server serves uPlot's module here, out of its package. */
import uPlot from "uplot";

export default uPlot;

// Self-checking test bench: streams a whole layer of golden input codes through `mac_tile` and
// compares every accumulator and every output, bit for bit. Runs in the layer's folder.
module layer_tb;
  `include "layer.vh"
  localparam integer GROUP_INPUTS = IN_CHANNELS / GROUPS;
  localparam integer GROUP_OUTPUTS = OUT_CHANNELS / GROUPS;
  localparam integer TAPS = KERNEL_HEIGHT * KERNEL_WIDTH * GROUP_INPUTS;
  localparam integer OUTPUTS = IMAGES * OUT_HEIGHT * OUT_WIDTH * OUT_CHANNELS;
  localparam integer INPUTS = IMAGES * HEIGHT * WIDTH * IN_CHANNELS;

  logic [7:0]  inputs[0:INPUTS-1];
  logic [7:0]  weight[0:TAPS*OUT_CHANNELS-1];
  logic [31:0] weight_zero_point[0:OUT_CHANNELS-1];
  logic [31:0] offset[0:OUT_CHANNELS-1];
  logic [31:0] scale[0:OUT_CHANNELS-1];
  logic [31:0] residual[0:OUTPUTS-1];
  logic [31:0] accumulator[0:OUTPUTS-1];
  logic [31:0] expected[0:OUTPUTS-1];

  logic clk, first, last;
  logic [7:0] activation;
  logic [8*LANES-1:0] weights;
  logic [32*LANES-1:0] zero_points, offsets, scales, residuals;
  wire valid;
  wire [32*LANES-1:0] accumulators, results;

  mac_tile #(
      .LANES(LANES), .SIGNED(SIGNED), .ACTIVATION(ACTIVATION), .CLIP_MIN(CLIP_MIN),
      .CLIP_MAX(CLIP_MAX), .RESIDUAL(RESIDUAL), .RESIDUAL_SCALE(RESIDUAL_SCALE),
      .RESIDUAL_ZERO_POINT(RESIDUAL_ZERO_POINT), .RESIDUAL_SIGNED(RESIDUAL_SIGNED),
      .OUTPUT_CODES(OUTPUT_CODES), .OUTPUT_SCALE(OUTPUT_SCALE),
      .OUTPUT_ZERO_POINT(OUTPUT_ZERO_POINT), .OUTPUT_SIGNED(OUTPUT_SIGNED)
  ) tile (
      .clk(clk), .enable(1'b1), .first(first), .last(last), .activation(activation),
      .weights(weights), .weight_zero_points(zero_points), .offsets(offsets), .scales(scales),
      .residuals(residuals), .valid(valid), .accumulators(accumulators), .results(results)
  );

  integer image, y, x, n, i, j, c, lane, tap, row, column, at, checked, wrong;

  task check;
    begin
      for (lane = 0; lane < LANES; lane = lane + 1) begin
        at = ((image * OUT_HEIGHT + y) * OUT_WIDTH + x) * OUT_CHANNELS + n + lane;
        checked = checked + 1;
        if (valid !== 1'b1 || accumulators[32*lane +: 32] !== accumulator[at]
            || results[32*lane +: 32] !== expected[at]) begin
          wrong = wrong + 1;
          if (wrong <= 10)
            $display("image %0d y %0d x %0d channel %0d: accumulator %h, golden %h; output %h, golden %h",
                     image, y, x, n + lane, accumulators[32*lane +: 32], accumulator[at],
                     results[32*lane +: 32], expected[at]);
        end
      end
    end
  endtask

  initial begin
    $readmemh("input.hex", inputs);
    $readmemh("weight.hex", weight);
    $readmemh("weight_zero_point.hex", weight_zero_point);
    $readmemh("offset.hex", offset);
    $readmemh("scale.hex", scale);
    $readmemh("accumulator.hex", accumulator);
    $readmemh("output.hex", expected);
    if (RESIDUAL != 0) $readmemh("residual.hex", residual);
    clk = 0;
    checked = 0;
    wrong = 0;
    for (image = 0; image < IMAGES; image = image + 1)
      for (y = 0; y < OUT_HEIGHT; y = y + 1)
        for (x = 0; x < OUT_WIDTH; x = x + 1)
          for (n = 0; n < OUT_CHANNELS; n = n + LANES) begin
            for (lane = 0; lane < LANES; lane = lane + 1) begin
              at = ((image * OUT_HEIGHT + y) * OUT_WIDTH + x) * OUT_CHANNELS + n + lane;
              zero_points[32*lane +: 32] = weight_zero_point[n+lane];
              offsets[32*lane +: 32] = offset[n+lane];
              scales[32*lane +: 32] = scale[n+lane];
              residuals[32*lane +: 32] = RESIDUAL != 0 ? residual[at] : 32'd0;
            end
            tap = 0;
            for (i = 0; i < KERNEL_HEIGHT; i = i + 1)
              for (j = 0; j < KERNEL_WIDTH; j = j + 1)
                for (c = 0; c < GROUP_INPUTS; c = c + 1) begin
                  row = y * STRIDE_Y + i * DILATION_Y - PAD_TOP;
                  column = x * STRIDE_X + j * DILATION_X - PAD_LEFT;
                  at = ((image * HEIGHT + row) * WIDTH + column) * IN_CHANNELS
                      + (n / GROUP_OUTPUTS) * GROUP_INPUTS + c;
                  activation = row < 0 || row >= HEIGHT || column < 0 || column >= WIDTH
                      ? PAD_CODE : inputs[at];
                  for (lane = 0; lane < LANES; lane = lane + 1)
                    weights[8*lane +: 8] = weight[tap*OUT_CHANNELS+n+lane];
                  first = tap == 0;
                  last = tap == TAPS - 1;
                  #1 clk = 1;
                  #1 clk = 0;
                  tap = tap + 1;
                end
            check;
          end
    if (wrong != 0) $fatal(1, "FAIL: %0d of %0d outputs differ", wrong, checked);
    $display("PASS: %0d outputs", checked);
    $finish;
  end
endmodule

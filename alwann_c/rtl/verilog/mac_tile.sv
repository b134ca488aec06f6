// One column group of the MAC array: LANES output channels share the streamed activation. Taps come
// one a clock; `first` and `last` mark the ends of a filter. The clock after `last`, `valid` is high
// and the tile shows
//   accumulator = sum M(activation, weight) - weight_zero_point * sum activation + offset
// and what `requantize` makes of it. The multiplier is the module named by the macro MULTIPLIER, with
// ports A (activation), B (weight) and O (16-bit product).
module mac_tile #(
    parameter integer LANES = 1,
    parameter integer SIGNED = 0,              // codes are int8, products two's complement
    parameter integer ACTIVATION = 0,
    parameter logic [31:0] CLIP_MIN = 0,
    parameter logic [31:0] CLIP_MAX = 0,
    parameter integer RESIDUAL = 0,
    parameter logic [31:0] RESIDUAL_SCALE = 0,
    parameter integer RESIDUAL_ZERO_POINT = 0,
    parameter integer RESIDUAL_SIGNED = 0,
    parameter integer OUTPUT_CODES = 1,
    parameter logic [31:0] OUTPUT_SCALE = 32'h3f800000,
    parameter integer OUTPUT_ZERO_POINT = 0,
    parameter integer OUTPUT_SIGNED = 0
) (
    input  logic                clk,
    input  logic                enable,
    input  logic                first,
    input  logic                last,
    input  logic [7:0]          activation,
    input  logic [8*LANES-1:0]  weights,       // lane 0 in the low bits, here and below
    input  logic [32*LANES-1:0] weight_zero_points,
    input  logic [32*LANES-1:0] offsets,
    input  logic [32*LANES-1:0] scales,
    input  logic [32*LANES-1:0] residuals,
    output logic                valid,
    output logic [32*LANES-1:0] accumulators,
    output logic [32*LANES-1:0] results
);
  // correction: the sum of the activation codes, shared by all lanes
  logic signed [31:0] activation_sum, activation_total;
  wire signed [31:0] activation_value =
      SIGNED != 0 ? {{24{activation[7]}}, activation} : {24'd0, activation};

  always @* activation_total = (first ? 32'sd0 : activation_sum) + activation_value;

  always @(posedge clk) begin
    valid <= enable && last;
    if (enable) activation_sum <= activation_total;
  end

  genvar lane;
  generate
    for (lane = 0; lane < LANES; lane = lane + 1) begin : lanes
      wire [15:0] product;
      wire signed [31:0] extended = SIGNED != 0 ? {{16{product[15]}}, product} : {16'd0, product};
      wire signed [31:0] zero_point = weight_zero_points[32*lane +: 32];
      logic signed [31:0] sum, accumulator;
      wire signed [31:0] total = (first ? 32'sd0 : sum) + extended;
      wire [31:0] result;

      `MULTIPLIER multiplier (.A(activation), .B(weights[8*lane +: 8]), .O(product));

      always @(posedge clk) if (enable) begin
        sum <= total;
        if (last)
          accumulator <= total - zero_point * activation_total + $signed(offsets[32*lane +: 32]);
      end

      requantize #(
          .ACTIVATION(ACTIVATION), .CLIP_MIN(CLIP_MIN), .CLIP_MAX(CLIP_MAX),
          .RESIDUAL(RESIDUAL), .RESIDUAL_SCALE(RESIDUAL_SCALE),
          .RESIDUAL_ZERO_POINT(RESIDUAL_ZERO_POINT), .RESIDUAL_SIGNED(RESIDUAL_SIGNED),
          .OUTPUT_CODES(OUTPUT_CODES), .OUTPUT_SCALE(OUTPUT_SCALE),
          .OUTPUT_ZERO_POINT(OUTPUT_ZERO_POINT), .OUTPUT_SIGNED(OUTPUT_SIGNED)
      ) epilogue (
          .accumulator(accumulator), .scale(scales[32*lane +: 32]),
          .residual(residuals[32*lane +: 32]), .result(result)
      );

      assign accumulators[32*lane +: 32] = accumulator;
      assign results[32*lane +: 32] = result;
    end
  endgenerate
endmodule

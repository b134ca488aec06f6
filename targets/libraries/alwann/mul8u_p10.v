// mul8u_p10: approximate 8 x 8 bit unsigned multiplier, p = a w
// MAE = 1554.94, WCE = 9022
// power 0.03708 mW, area 74.35 um2, delay 0.4126 ns (gate model: 34 gates)
module mul8u_p10 (
  input  wire [7:0] a,
  input  wire [7:0] w,
  output wire [15:0] p
);
  wire n0 = a[7] & w[4];
  wire n1 = a[6] & w[6];
  wire n2 = a[5] & n1;
  wire n3 = a[6] & w[5];
  wire n4 = n0 | n3;
  wire n5 = a[7] & w[5];
  wire n6 = n2 | n5;
  wire n7 = a[7] & w[6];
  wire n8 = n1 ^ n5;
  wire n9 = w[6] & n6;
  wire n10 = n8 ^ n9;
  wire n11 = n7 ^ n9;
  wire n12 = n6 & n7;
  wire n13 = a[4] & w[7];
  wire n14 = n4 | n13;
  wire n15 = n4 & n13;
  wire n16 = a[5] & w[7];
  wire n17 = n10 ^ n16;
  wire n18 = n10 & n16;
  wire n19 = n15 ^ n17;
  wire n20 = n15 & n17;
  wire n21 = n18 | n20;
  wire n22 = a[6] & w[7];
  wire n23 = n11 ^ n22;
  wire n24 = n11 & n22;
  wire n25 = n21 ^ n23;
  wire n26 = n21 & n23;
  wire n27 = n24 | n26;
  wire n28 = a[7] & w[7];
  wire n29 = n12 ^ n28;
  wire n30 = n9 & n28;
  wire n31 = n27 ^ n29;
  wire n32 = n27 & n29;
  wire n33 = n30 | n32;
  assign p[0] = n32;
  assign p[1] = a[0];
  assign p[2] = n7;
  assign p[3] = 1'b0;
  assign p[4] = a[1];
  assign p[5] = a[4];
  assign p[6] = a[4];
  assign p[7] = n19;
  assign p[8] = 1'b1;
  assign p[9] = 1'b1;
  assign p[10] = 1'b1;
  assign p[11] = n14;
  assign p[12] = n19;
  assign p[13] = n25;
  assign p[14] = n31;
  assign p[15] = n33;
endmodule
